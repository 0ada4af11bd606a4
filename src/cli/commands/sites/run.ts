/** `longtail sites`: asks Google which properties these credentials can see. */
import { LongtailError } from '../../../domain/errors.ts';
import { plain, table } from '../../../report/render.ts';
import { type Auth, createAuth } from '../../../search-console/auth/auth.ts';
import { createGotTransport } from '../../../search-console/http/got-transport.ts';
import { GOOGLE_API_ROOT } from '../../../search-console/request/root.ts';
import { listSites, type Site, type SitesResult } from '../../../search-console/sites.ts';
import { explainFatal } from '../../../sync/next-steps.ts';
import { EXIT } from '../../process/exit-code.ts';
import type { Output } from '../../terminal/output.ts';
import { type AccessFlags, readAccess } from '../options.ts';
import type { Session } from '../session.ts';

/** The parsed options. Each is valid on its own. */
export interface SitesFlags extends AccessFlags {
  readonly json?: boolean;
}

const CONNECT_TIMEOUT_MS = 10_000;
const FIRST_BYTE_TIMEOUT_MS = 30_000;

const PERMISSIONS: Readonly<Record<string, string>> = {
  siteOwner: 'owner',
  siteFullUser: 'full user',
  siteRestrictedUser: 'restricted user',
  siteUnverifiedUser: 'unverified: its data cannot be read',
};

/** @throws LongtailError for wrong options or credentials, or if the API cannot be reached. */
export async function runSites(flags: SitesFlags, session: Session): Promise<void> {
  const { env, output, clock } = session;
  const { credentials, tokenUrl, apiRoot = GOOGLE_API_ROOT } = readAccess(flags, env);
  const interrupt = session.catchSignals('Stopping.');
  // Without a credentials file this asks the machine for credentials, which may take a while.
  const auth = await Promise.race([createAuth({ credentials, tokenUrl, clock, env }), interrupt.asked]);
  if (auth === undefined) return session.endWith(EXIT.interrupted);
  const transport = createGotTransport({
    maxSockets: 1,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    firstByteTimeoutMs: FIRST_BYTE_TIMEOUT_MS,
    root: apiRoot,
    env,
  });
  const ask = (accessToken: string): Promise<SitesResult> =>
    listSites({
      transport,
      clock,
      apiRoot,
      accessToken,
      signal: interrupt.signal,
      quotaProjectId: auth.identity.quotaProjectId,
    });
  try {
    const result = await Promise.race([askWithToken(auth, ask), interrupt.asked]);
    if (result === undefined || result.kind === 'aborted') return session.endWith(EXIT.interrupted);
    const sites = readable(result, auth);
    if (flags.json === true) output.print(JSON.stringify({ sites }));
    else output.print(describeSites(sites, auth.identity.serviceAccountEmail, output));
  } finally {
    await transport.close();
  }
}

/** Asks, and asks once more with a new token if the first was refused. */
async function askWithToken(
  auth: Auth,
  ask: (accessToken: string) => Promise<SitesResult>,
): Promise<SitesResult> {
  for (;;) {
    const token = await auth.token();
    if (token.kind === 'failed') throw new LongtailError(token.code, token.reason, token.nextStep);
    if (token.kind === 'unavailable') throw unreachable(token.reason);
    const result = await ask(token.token);
    if (result.kind === 'ok') auth.succeeded(token.token);
    if (result.kind !== 'unauthorized') return result;
    if ((await auth.refused(token.token)) === 'fatal') return result;
  }
}

function readable(result: Exclude<SitesResult, { kind: 'aborted' }>, auth: Auth): readonly Site[] {
  const { serviceAccountEmail } = auth.identity;
  switch (result.kind) {
    case 'ok':
      return result.sites;
    case 'retryable':
      throw unreachable(`Google did not return the list of properties: ${result.reason}`);
    case 'quota':
      throw unreachable('Google refused the request because a quota is exceeded.');
    case 'unauthorized':
      throw advised('UNAUTHORIZED', result.reason);
    case 'forbidden':
      throw advised(result.code, result.reason);
    case 'fatal':
      throw advised(result.code, result.reason, result.nextStep);
    case 'invalid':
      throw advised('UNEXPECTED_ANSWER', result.reason);
  }

  function advised(code: string, reason: string, nextStep?: string): LongtailError {
    const fatal = nextStep === undefined ? { code, reason } : { code, reason, nextStep };
    const advice = explainFatal(fatal, { siteUrl: 'the property', serviceAccountEmail });
    return new LongtailError(advice.code, advice.message, advice.nextStep);
  }
}

const unreachable = (reason: string): LongtailError =>
  new LongtailError(
    'API_UNREACHABLE',
    reason,
    'Check the network, and --api-root if you passed it; then try again.',
  );

/** Exported for its test. */
export function describeSites(
  sites: readonly Site[],
  serviceAccountEmail: string | undefined,
  { colours }: Pick<Output, 'colours'>,
): string {
  if (sites.length === 0) {
    const who = serviceAccountEmail ?? 'this account';
    return (
      `Google knows no property that ${plain(who)} may read.\n` +
      'Add it as a user of the property in Search Console: Settings → Users and permissions → Add user.'
    );
  }
  const columns = [{ title: 'Property' }, { title: 'Permission' }];
  const rows = sites.map(({ siteUrl, permissionLevel }) => [
    plain(siteUrl),
    PERMISSIONS[permissionLevel] ?? plain(permissionLevel),
  ]);
  return table(columns, rows, colours.dim);
}
