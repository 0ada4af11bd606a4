import { withoutSecrets } from '../../domain/secrets.ts';

/** A longer link is left out. */
const MAX_LINK_LENGTH = 500;

const MAX_LENGTH = 300;

/**
 * Text of a server made fit for a message: one line, at most 300 characters and the rest of a link, no control characters, no secret.
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
  if (line.length <= MAX_LENGTH) return line;
  return `${line.slice(0, endOfLinkAt(line, MAX_LENGTH - 1)).toWellFormed()}…`;
}

/** Where the link ends that a cut there would go through: half a link leads nowhere, or elsewhere. */
function endOfLinkAt(line: string, cut: number): number {
  for (const { index, 0: link } of line.matchAll(/https?:\/\/[^\s"'<>]+/g)) {
    if (index < cut && index + link.length > cut) {
      return link.length <= MAX_LINK_LENGTH ? index + link.length : index;
    }
  }
  return cut;
}
