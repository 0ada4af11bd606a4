/** Pieces of so many bytes at most, cut anywhere. Views, not copies. */
export function* copyChunks(bytes: Buffer, maxBytes: number): Generator<Buffer, void, undefined> {
  for (let start = 0; start < bytes.length; start += maxBytes) {
    yield bytes.subarray(start, start + maxBytes);
  }
}
