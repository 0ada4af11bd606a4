import { readFile } from 'node:fs/promises';
import type { ConnectionOptions, SecureVersion } from 'node:tls';
import { errorFacts } from '../../domain/error-facts.ts';
import { LongtailError } from '../../domain/errors.ts';
import { isLoopback } from '../../domain/loopback.ts';
import type { Encryption, Endpoint, Way } from '../../internals/socket.ts';
import type { DatabaseAddress, TlsMode, TlsWish } from './database-url.ts';

/** A route to a server, and whether the next one leads to the same server with other encryption. */
export interface Attempt {
  readonly way: Way;
  readonly nextIsSameServer: boolean;
}

/**
 * The routes to a database, in the order in which they are tried. As in libpq, Unix sockets are never encrypted,
 * `require` verifies the certificate only against a root that is named, and `prefer` and `allow` accept either. The
 * default is `prefer`, and `allow` on the local machine. Without a named root, `verify-ca` and `verify-full` use the
 * certificates that Node trusts.
 */
export async function waysTo({ endpoints, tls }: DatabaseAddress): Promise<readonly Attempt[]> {
  const files = await readFiles(tls);
  return endpoints.flatMap((endpoint) => waysToOne(endpoint, tls, files));
}

function waysToOne(endpoint: Endpoint, wish: TlsWish, files: ConnectionOptions): readonly Attempt[] {
  const plain: Way = { endpoint, encryption: undefined };
  if (endpoint.kind === 'socket') return [{ way: plain, nextIsSameServer: false }];
  const mode = wish.mode ?? (isLoopback(endpoint.address ?? endpoint.host) ? 'allow' : 'prefer');
  const encrypted: Way = { endpoint, encryption: encryptionOf(mode, wish, files) };
  const last = (way: Way): Attempt => ({ way, nextIsSameServer: false });
  const first = (way: Way): Attempt => ({ way, nextIsSameServer: true });
  switch (mode) {
    case 'disable':
      return [last(plain)];
    case 'allow':
      return [first(plain), last(encrypted)];
    case 'prefer':
      return [first(encrypted), last(plain)];
    default:
      return [last(encrypted)];
  }
}

function encryptionOf(mode: TlsMode, wish: TlsWish, files: ConnectionOptions): Encryption {
  const checksChain =
    mode === 'verify-ca' || mode === 'verify-full' || (mode === 'require' && files.ca !== undefined);
  return {
    need: mode === 'prefer' ? 'ifOffered' : 'always',
    negotiation: wish.negotiation,
    options: {
      ...files,
      rejectUnauthorized: checksChain,
      ...(mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
    },
  };
}

const VERSIONS: readonly SecureVersion[] = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'];

async function readFiles(wish: TlsWish): Promise<ConnectionOptions> {
  const { rootCert, cert, key, revoked, keyPassword, mode } = wish;
  if ((cert === undefined) !== (key === undefined)) {
    throw new LongtailError(
      'BAD_OPTION',
      `The database URL names ${cert === undefined ? 'sslkey but no sslcert' : 'sslcert but no sslkey'}.`,
      'A client certificate and its key belong together: give both, or neither.',
    );
  }
  const minVersion = VERSIONS.find((version) => version === wish.minVersion);
  // Without verification, a named root is not used.
  const checks = mode === 'require' || mode === 'verify-ca' || mode === 'verify-full';
  const root = rootCert === 'system' || !checks ? undefined : rootCert;
  return {
    ...(root === undefined ? {} : { ca: await read('sslrootcert', root) }),
    ...(cert === undefined ? {} : { cert: await read('sslcert', cert) }),
    ...(key === undefined ? {} : { key: await read('sslkey', key) }),
    ...(revoked === undefined ? {} : { crl: await read('sslcrl', revoked) }),
    ...(keyPassword === undefined ? {} : { passphrase: keyPassword }),
    ...(minVersion === undefined ? {} : { minVersion }),
  };
}

/** Does not repeat the path: the value may be the key itself. */
async function read(parameter: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    const { code } = errorFacts(error);
    throw new LongtailError(
      'BAD_OPTION',
      `The file that the database URL names as ${parameter} cannot be read (${code}).`,
      'Give the path of a PEM file that this user may read.',
      { cause: error },
    );
  }
}
