import { withoutSecrets } from '../domain/secrets.ts';

const MAX_LENGTH = 300;

/**
 * Text of a server made fit for a message: one line, at most 300 characters, no control characters, no secret.
 * `secrets` are taken out wherever they stand.
 */
export function oneLine(text: string, secrets: readonly string[] = []): string {
  // The cut comes after the secrets are out, or half of one could stay; but work on hostile lengths is bounded first.
  let line = text.length > 20 * MAX_LENGTH ? text.slice(0, 20 * MAX_LENGTH) : text;
  for (const secret of secrets) {
    if (secret.length > 0) line = line.replaceAll(secret, '[secret]');
  }
  line = withoutSecrets(line.replace(/\bBearer\s+[^\s"'<>]+/g, '[secret]'), '[secret]')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out.
    .replace(/[\s\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ')
    .trim();
  return line.length > MAX_LENGTH ? `${line.slice(0, MAX_LENGTH - 1).toWellFormed()}…` : line;
}
