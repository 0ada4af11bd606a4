import { LongtailError } from '../../domain/errors.ts';
import { isLoopback } from '../../domain/loopback.ts';

/** Google's API root. */
export const GOOGLE_API_ROOT = 'https://searchconsole.googleapis.com/';

/** Whether secrets may be sent there: over TLS, or to this machine. */
export function isSafeForSecrets(url: URL): boolean {
  if (url.protocol === 'https:') return true;
  if (url.protocol !== 'http:') return false;
  return isLoopback(url.hostname);
}

/**
 * Validates a URL that tokens are sent to. `what` names the setting, such as `--api-root`.
 * @throws LongtailError `BAD_OPTION` if it is not a URL, `INSECURE_ROOT` if it is neither https nor loopback.
 */
export function secureUrl(text: string, what: string): URL {
  const url = URL.parse(text);
  if (url === null || url.host === '' || url.username !== '' || url.password !== '') {
    throw new LongtailError(
      'BAD_OPTION',
      `${what} is not a URL that can be used.`,
      `Give ${what} as https://host/, without a user name or password in it.`,
    );
  }
  if (!isSafeForSecrets(url)) {
    throw new LongtailError(
      'INSECURE_ROOT',
      `${what} is ${url.protocol}//${url.host}: access tokens are sent only over https or to this machine itself.`,
      `Use an https URL for ${what}, or a loopback one such as http://127.0.0.1:8080/.`,
    );
  }
  return url;
}

/** The API's root, checked as by {@link secureUrl}, ending in `/`. */
export function secureApiRoot(text: string, what = '--api-root'): string {
  const url = secureUrl(text, what);
  url.search = '';
  url.hash = '';
  return url.href.endsWith('/') ? url.href : `${url.href}/`;
}
