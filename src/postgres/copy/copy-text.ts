/** Splits `bytes` into chunks of at most `maxBytes`, at any position. The chunks are views, not copies. */
export function* copyChunks(bytes: Buffer, maxBytes: number): Generator<Buffer, void, undefined> {
  for (let start = 0; start < bytes.length; start += maxBytes) {
    yield bytes.subarray(start, start + maxBytes);
  }
}
