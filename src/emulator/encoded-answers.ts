import { promisify } from 'node:util';
import { gzip, gzipSync } from 'node:zlib';
import { ByteBoundedCache } from './lru.ts';

const compress = promisify(gzip);

/** A body as it is sent, and how many rows it holds. */
export interface EncodedAnswer {
  readonly bytes: Buffer;
  readonly rows: number;
}

/**
 * Answers made once and sent many times. Compressed ones are gzip members of their own: members set one after another
 * are a gzip stream, so that a batch is put together without compressing anything again.
 */
export class EncodedAnswers {
  readonly #cache: ByteBoundedCache<EncodedAnswer>;
  readonly #level: number;

  constructor(maxBytes: number, gzipLevel: number) {
    this.#cache = new ByteBoundedCache(maxBytes);
    this.#level = gzipLevel;
  }

  /** The answer of this key; `make` gives its text when it is not kept. */
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

  /** A piece that stands between answers, in the form that they have. */
  piece(text: string, gzipped: boolean): Buffer {
    return gzipped ? gzipSync(text, { level: this.#level }) : Buffer.from(text, 'utf8');
  }
}
