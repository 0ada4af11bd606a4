/**
 * Gives the memory of bytes that nobody will read again back at once. Of megabytes that live outside its heap the collector
 * sees too little to come in time. One that shares its memory with others is left alone.
 */
export function free({ buffer, byteLength }: ArrayBufferView): void {
  if (buffer instanceof ArrayBuffer && byteLength === buffer.byteLength) buffer.transfer(0);
}
