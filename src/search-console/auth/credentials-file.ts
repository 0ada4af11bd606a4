import { createHash, createPrivateKey } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { LongtailError } from '../../domain/errors.ts';
import { quoted, shownPath } from '../../domain/quoted.ts';
import { mayBeSecret } from '../../domain/secrets.ts';
import { secureUrl } from '../request/root.ts';

/** The only scope that reading Search Console data needs. */
export const READ_SCOPE = 'https://www.googleapis.com/auth/webmasters.readonly';

/** The account and the project whose quotas the requests use. Contains no secret. */
export interface Identity {
  /** `user:` and the account's name. If a file does not name it: a hash of its credentials, which is the same in every process. */
  readonly userScope: string;
  /** `project:` and an ID or number; null if unknown. */
  readonly projectScope: string | null;
  /** The value for `x-goog-user-project`; null if that header is not sent. */
  readonly quotaProjectId: string | null;
  /** Why Google did not name the token's account, if it was asked. */
  readonly accountProblem?: string;
  /** Must be a user of the property in Search Console. */
  readonly serviceAccountEmail?: string;
}

/** Real credentials files have a few kilobytes. */
const MAX_FILE_BYTES = 1024 * 1024;

const text = z.string().min(1);
const anyType = z.object({
  type: z.string(),
  project_id: text.optional(),
  quota_project_id: text.optional(),
});
const SCHEMAS = {
  authorized_user: anyType.extend({ client_id: text, client_secret: text, refresh_token: text }),
  service_account: anyType.extend({ client_email: text, private_key: text }),
  external_account: anyType.extend({ audience: text, service_account_impersonation_url: text.optional() }),
  external_account_authorized_user: anyType.extend({ refresh_token: text }),
  impersonated_service_account: anyType.extend({
    service_account_impersonation_url: z.string().regex(/\/serviceAccounts\/[^/:]+:generateAccessToken$/),
    source_credentials: z.looseObject({ type: text }),
  }),
} as const;
/** Fields with a URL that the library sends identity proofs or tokens to. */
const SECRET_BEARING_URLS = ['token_url', 'token_info_url', 'service_account_impersonation_url'];
type CredentialsType = keyof typeof SCHEMAS;

/** A valid credentials file. `json` is in the form that google-auth-library accepts. */
export interface CredentialsFile {
  readonly type: CredentialsType;
  readonly json: Readonly<Record<string, unknown>>;
  readonly identity: Identity;
}

/**
 * Reads and checks a credentials file. `source` is the option or variable that the path comes from.
 * @throws LongtailError `NO_CREDENTIALS` if there is no such file, `BAD_CREDENTIALS` or `INSECURE_ROOT` if it is unusable.
 */
export async function readCredentialsFile(
  path: string,
  source = 'credentials.file',
): Promise<CredentialsFile> {
  const content = await readText(path, source);
  let json: unknown;
  try {
    // Some Windows editors begin a file with a byte order mark.
    json = JSON.parse(content.replace(/^\ufeff/, ''));
  } catch {
    // The parser's message quotes the text, which is secret.
    throw bad(path, 'is not JSON', 'Download the key again, as JSON.');
  }
  const holder = z.looseObject({}).safeParse(json);
  if (!holder.success) throw bad(path, 'is not a JSON object', 'Download the key again, as JSON.');
  const { type } = holder.data;
  if (type === undefined && ('installed' in holder.data || 'web' in holder.data)) {
    throw bad(
      path,
      'describes an OAuth client, which cannot sign in by itself',
      `Create a service account key, or run: gcloud auth application-default login --client-id-file="${path}" --scopes=${READ_SCOPE},https://www.googleapis.com/auth/cloud-platform`,
    );
  }
  if (typeof type !== 'string' || !isKnownType(type)) {
    const known = Object.keys(SCHEMAS).join(', ');
    throw bad(
      path,
      type === undefined ? 'has no "type"' : `has the type ${quoted(type)}`,
      `Use a file of one of these types: ${known}.`,
    );
  }
  const checked = SCHEMAS[type].safeParse(json);
  if (!checked.success) {
    const names = [...new Set(checked.error.issues.map((issue) => issue.path.join('.')))].join(', ');
    throw bad(path, `is of type ${type} and lacks ${names}`, 'Download it or create it again.');
  }
  if (type === 'service_account' && !isPrivateKey(holder.data.private_key)) {
    throw bad(
      path,
      'has an invalid or incomplete private_key',
      'Download the key again, and do not edit it.',
    );
  }
  for (const name of SECRET_BEARING_URLS) {
    const url = holder.data[name];
    if (typeof url === 'string') secureUrl(url, `${name} in ${path}`);
  }
  return { type, json: holder.data, identity: identityOf(type, holder.data) };
}

/**
 * The error for a path that cannot be read. People often pass the key itself instead of its path, so text that may be a
 * secret is not repeated.
 */
export function unreadableFile(path: string, source: string, problem: string): LongtailError {
  if (mayBeSecret(path)) {
    return new LongtailError(
      'BAD_CREDENTIALS',
      `${source} contains a key or another secret, but must be the path of a file.`,
      'Write the key to a file that only you can read, and give the path of that file.',
    );
  }
  return new LongtailError(
    'NO_CREDENTIALS',
    `${source} names ${shownPath(path)}, but ${problem}.`,
    'Give the path of the JSON file that Google Cloud gave you for the service account or the sign-in.',
  );
}

async function readText(path: string, source: string): Promise<string> {
  let problem: string;
  try {
    const { size } = await stat(path);
    if (size <= MAX_FILE_BYTES) return await readFile(path, 'utf8');
    problem = `it has ${size} bytes, which is too large for a credentials file`;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'invalid path';
    problem = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`;
  }
  throw unreadableFile(path, source, problem);
}

function isPrivateKey(pem: unknown): boolean {
  if (typeof pem !== 'string') return false;
  try {
    createPrivateKey(pem);
    return true;
  } catch {
    return false;
  }
}

/** The file to look for Application Default Credentials in. `named`: an environment variable names it. */
export function defaultCredentialsPath(
  env: Readonly<Record<string, string | undefined>>,
  platform: NodeJS.Platform,
): { readonly path: string; readonly named: boolean } {
  const named = env.GOOGLE_APPLICATION_CREDENTIALS;
  if (named !== undefined && named !== '') return { path: named, named: true };
  const windows = platform === 'win32';
  const folder =
    env.CLOUDSDK_CONFIG ??
    (windows ? join(env.APPDATA ?? '', 'gcloud') : join(env.HOME ?? homedir(), '.config', 'gcloud'));
  return { path: join(folder, 'application_default_credentials.json'), named: false };
}

/** A short hash: the same for the same secrets, and it does not reveal them. */
function fingerprint(...secrets: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(secrets)).digest('hex').slice(0, 16);
}

function identityOf(type: CredentialsType, json: Readonly<Record<string, unknown>>): Identity {
  const of = (name: string) => (typeof json[name] === 'string' ? json[name] : '');
  const quotaProjectId = of('quota_project_id') || null;
  const email = of('client_email') || impersonated(of('service_account_impersonation_url'));
  // A client ID begins with the number of its project.
  const projectOfClient = /^(\d+)-/.exec(of('client_id'))?.[1] ?? '';
  const project = quotaProjectId ?? (of('project_id') || projectOfClient);
  // Files that name their account share one scope if the account is the same.
  const account = email || (of('account').includes('@') ? of('account') : '');
  const user =
    account.toLowerCase() ||
    fingerprint(
      type,
      of('client_id'),
      of('refresh_token'),
      of('audience'),
      JSON.stringify(json.credential_source ?? null),
    );
  return {
    userScope: `user:${user}`,
    projectScope: project === '' ? null : `project:${project}`,
    quotaProjectId,
    ...(email !== '' && { serviceAccountEmail: email }),
  };
}

const impersonated = (url: string): string => /\/serviceAccounts\/([^/:]+):/.exec(url)?.[1] ?? '';

const isKnownType = (type: string): type is CredentialsType => Object.hasOwn(SCHEMAS, type);

function bad(path: string, what: string, nextStep: string): LongtailError {
  return new LongtailError('BAD_CREDENTIALS', `The credentials file ${path} ${what}.`, nextStep);
}
