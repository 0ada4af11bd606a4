import { withoutSecrets } from '../../domain/secrets.ts';

/** A longer link is removed. */
const MAX_LINK_LENGTH = 500;

const MAX_LENGTH = 300;

/**
 * Makes a server's text fit for a message: one line of at most 300 characters and the rest of a link, without control
 * characters or secrets. `secrets` are replaced wherever they occur.
 */
export function oneLine(text: string, secrets: readonly string[] = []): string {
  // Secrets are removed before the text is cut, otherwise half of one could remain. This first cut only bounds the work.
  let line = text.length > 20 * MAX_LENGTH ? text.slice(0, 20 * MAX_LENGTH) : text;
  for (const secret of secrets) {
    if (secret.length > 0) line = line.replaceAll(secret, '[secret]');
  }
  line = withoutSecrets(line.replace(/\bBearer\s+[^\s"'<>]+/g, '[secret]'), '[secret]')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these characters are removed.
    .replace(/[\s\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ')
    .trim();
  if (line.length <= MAX_LENGTH) return line;
  return `${line.slice(0, endOfLinkAt(line, MAX_LENGTH - 1)).toWellFormed()}…`;
}

/** Moves a cut inside a link to the link's end, or to its start if it is long. Half a link would lead nowhere. */
function endOfLinkAt(line: string, cut: number): number {
  for (const { index, 0: link } of line.matchAll(/https?:\/\/[^\s"'<>]+/g)) {
    if (index < cut && index + link.length > cut) {
      return link.length <= MAX_LINK_LENGTH ? index + link.length : index;
    }
  }
  return cut;
}
