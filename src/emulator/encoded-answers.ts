import { promisify } from 'node:util';
import { gzip, gzipSync } from 'node:zlib';
import { ByteBoundedCache } from './lru.ts';

const compress = promisify(gzip);

/** A body as sent, and the number of its rows. */
export interface EncodedAnswer {
  readonly bytes: Buffer;
  readonly rows: number;
}

/**
 * Answers that are encoded once and sent many times. Each compressed one is a separate gzip member. Concatenated members
 * form a valid gzip stream, so a batch is assembled without compressing again.
 */
export class EncodedAnswers {
  readonly #cache: ByteBoundedCache<EncodedAnswer>;
  readonly #level: number;

  constructor(maxBytes: number, gzipLevel: number) {
    this.#cache = new ByteBoundedCache(maxBytes);
    this.#level = gzipLevel;
  }

  /** The answer for this key. `make` generates its text if it is not cached. */
  async get(
    key: string,
    gzipped: boolean,
    make: () => Promise<{ readonly text: string; readonly rows: number }>,
  ): Promise<EncodedAnswer> {
    const fullKey = `${gzipped} ${key}`;
    const kept = this.#cache.get(fullKey);
    if (kept !== undefined) return kept;
    const { text, rows } = await make();
    const bytes = gzipped ? await compress(text, { level: this.#level }) : Buffer.from(text, 'utf8');
    const answer = { bytes, rows };
    this.#cache.set(fullKey, answer, bytes.length + fullKey.length);
    return answer;
  }

  /** Text between answers, encoded like them. */
  piece(text: string, gzipped: boolean): Buffer {
    return gzipped ? gzipSync(text, { level: this.#level }) : Buffer.from(text, 'utf8');
  }
}
