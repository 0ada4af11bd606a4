/** Larger messages make the driver fail now and then: it has not sent the data when the next query comes. */
const MAX_CHUNK_BYTES = 65_536;

/** Pieces small enough for the driver, cut anywhere. Views, not copies. */
export function* copyChunks(bytes: Buffer): Generator<Buffer, void, undefined> {
  for (let start = 0; start < bytes.length; start += MAX_CHUNK_BYTES) {
    yield bytes.subarray(start, start + MAX_CHUNK_BYTES);
  }
}
