/**
 * Frees the memory of bytes that are no longer needed, immediately. The garbage collector does not notice megabytes
 * outside its heap in time. Memory shared with other views is left alone.
 */
export function free({ buffer, byteLength }: ArrayBufferView): void {
  if (buffer instanceof ArrayBuffer && byteLength === buffer.byteLength) buffer.transfer(0);
}
