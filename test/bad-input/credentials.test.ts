import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { expectRefusal, NO_DATABASE, runInProcess, SECRET, SITE, useEmptyFolder } from './support/command.ts';
import { NOT_DATABASES, NOT_ROOTS, shown } from './support/values.ts';

/** No database is named here: what got past the credentials would set up one, under `.longtail/`. */
const { left } = useEmptyFolder();
const files = mkdtempSync(join(tmpdir(), 'longtail-credentials-'));
const file = join(files, 'key.json');

afterAll(() => {
  rmSync(files, { recursive: true, force: true });
  expect(left()).toEqual([]);
});

const key = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString();
const SERVICE = {
  type: 'service_account',
  client_email: 'robot@project.iam.gserviceaccount.com',
  private_key: key,
  private_key_id: SECRET,
};
const USER = {
  type: 'authorized_user',
  client_id: '1-a.apps.googleusercontent.com',
  client_secret: SECRET,
  refresh_token: SECRET,
};
const EXTERNAL = {
  type: 'external_account',
  audience: '//iam.googleapis.com/projects/1/x',
  subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
  token_url: 'https://sts.googleapis.com/v1/token',
  credential_source: { file: '/nowhere' },
};

/** Each of these fields, gone or of a wrong kind. */
function spoiled(whole: Readonly<Record<string, unknown>>, ...names: readonly string[]) {
  const wrong: readonly unknown[] = [undefined, null, '', 5, true, [], {}];
  return names.flatMap((name) =>
    wrong.map((value): [string, unknown] => [
      `${String(whole.type)} with ${name} ${JSON.stringify(value) ?? 'left out'}`,
      { ...whole, [name]: value },
    ]),
  );
}

const utf16 = Buffer.from(`\ufeff${JSON.stringify(USER)}`, 'utf16le');
const CONTENTS: readonly (readonly [string, unknown])[] = [
  ['nothing', ''],
  ['a space', ' '],
  ['null', null],
  ['a number', 5],
  ['a text', SECRET],
  ['an empty list', []],
  ['a list of credentials', [USER]],
  ['an empty object', {}],
  ['half of it', JSON.stringify(USER).slice(0, -20)],
  ['two of them', JSON.stringify(USER).repeat(2)],
  ['a comment', `// ${SECRET}\n${JSON.stringify(USER)}`],
  ['YAML', `type: authorized_user\nclient_secret: ${SECRET}`],
  ['HTML', '<!doctype html><title>Sign in</title>'],
  ['the key alone', key],
  ['the token alone', `ya29.${SECRET}`],
  ['UTF-16', utf16],
  ['bytes that are no text', Buffer.from([0x7b, 0xff, 0xfe, 0x80, 0x7d])],
  ['NUL characters', '\u0000'.repeat(1_000)],
  ['a zip file', Buffer.from('504b0304140000000800', 'hex')],
  ['brackets, deep', '['.repeat(200_000)],
  ['lists, deep', '['.repeat(50_000) + ']'.repeat(50_000)],
  ['objects, deep', `${'{"type":'.repeat(50_000)}1${'}'.repeat(50_000)}`],
  ['a type that is deep', `{"type":${'['.repeat(50_000)}${']'.repeat(50_000)}}`],
  ['a long type', { type: 'x'.repeat(100_000) }],
  ['a type with a line break', { type: 'service\naccount' }],
  ['a type of Object’s own', { type: '__proto__' }],
  ['a wrong case', { ...SERVICE, type: 'Service_Account' }],
  ['an OAuth client', { installed: { client_id: 'x', client_secret: SECRET } }],
  ['an OAuth client of the web', { web: { client_id: 'x', client_secret: SECRET } }],
  ['a key that was cut', { ...SERVICE, private_key: key.slice(0, -60) }],
  ['a key without its line breaks', { ...SERVICE, private_key: key.replaceAll('\n', '') }],
  ['a key with literal \\n', { ...SERVICE, private_key: key.replaceAll('\n', '\\n') }],
  ['a public key', { ...SERVICE, private_key: key.replaceAll('PRIVATE', 'PUBLIC') }],
  ['a key that is a word', { ...SERVICE, private_key: SECRET }],
  ['a token endpoint over an open line', { ...EXTERNAL, token_url: 'http://sts.example.com/token' }],
  ['a token endpoint that is no URL', { ...EXTERNAL, token_url: 'sts.example.com' }],
  ['a token endpoint with a password', { ...EXTERNAL, token_url: `https://a:${SECRET}@sts.example.com/` }],
  ['impersonation at nobody', { ...EXTERNAL, service_account_impersonation_url: 'http://example.com/' }],
  ...spoiled(SERVICE, 'type', 'client_email', 'private_key'),
  ...spoiled(USER, 'client_id', 'client_secret', 'refresh_token'),
  ...spoiled(EXTERNAL, 'audience'),
];

describe('a credentials file with', () => {
  it.each(CONTENTS)('%s', async (_, content) => {
    const isText = typeof content === 'string' && content !== SECRET;
    writeFileSync(file, isText || Buffer.isBuffer(content) ? content : JSON.stringify(content));
    expectRefusal(await runInProcess(['sync', ...SITE, '--credentials', file]));
    expectRefusal(await runInProcess(['sites'], { GOOGLE_APPLICATION_CREDENTIALS: file }));
    expect(left()).toEqual([]);
  });

  it('a gigabyte', async () => {
    writeFileSync(file, '');
    truncateSync(file, 2 ** 30);
    expectRefusal(await runInProcess(['sync', ...SITE, '--credentials', file]));
  });

  it('a byte order mark before it, which is no fault', async () => {
    writeFileSync(file, `\ufeff${JSON.stringify(USER)}`);
    const env = { DATABASE_URL: NO_DATABASE };
    const { code, stderr } = await runInProcess(['sync', ...SITE, '--credentials', file], env);
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('does not respond') });
  });
});

describe('a path of credentials that is', () => {
  it.each([
    ['not there', '/nowhere/key.json'],
    ['a folder', '/'],
    ['no regular file', '/dev/null'],
    ['empty', ''],
    ['a space', ' '],
    ['with a NUL', 'key\u0000.json'],
    ['too long', 'x'.repeat(5_000)],
    ['a URL', 'https://example.com/key.json'],
    ['JSON itself', JSON.stringify({ type: 'authorized_user', client_secret: SECRET })],
    ['with a colour', '\u001b[31mkey.json'],
  ])('%s', async (_, path) => {
    expectRefusal(await runInProcess(['sync', ...SITE, '--credentials', path]));
    expectRefusal(await runInProcess(['sites', '--credentials', path]));
    // A variable that is set to nothing is not set.
    if (path.trim() !== '')
      expectRefusal(await runInProcess(['sync', ...SITE], { GOOGLE_APPLICATION_CREDENTIALS: path }));
    expect(left()).toEqual([]);
  });
});

describe('LONGTAIL_ACCESS_TOKEN', () => {
  it.each([
    'Bearer abcdefghij',
    'two words',
    'tökén',
    'a\nb',
    'a\r\nx-evil: 1',
    'a\u0000b',
    '“quoted”',
    '\u001b[31mred',
  ])('%j', async (token) => {
    const env = { LONGTAIL_ACCESS_TOKEN: token };
    for (const command of [['sync', ...SITE], ['sites']]) {
      const ended = await runInProcess(command, env);
      expectRefusal(ended);
      expect(ended.stderr).not.toContain(token);
    }
    expect(left()).toEqual([]);
  });
});

describe('variables that name a place', () => {
  const cases = [
    ...NOT_ROOTS.flatMap((value) => [
      { name: 'LONGTAIL_API_ROOT', value, command: ['sync', ...SITE] },
      { name: 'LONGTAIL_TOKEN_URL', value, command: ['sites'] },
    ]),
    ...NOT_DATABASES.map((value) => ({ name: 'DATABASE_URL', value, command: ['sync', ...SITE] })),
    ...NOT_DATABASES.slice(0, 5).map((value) => ({ name: 'DATABASE_URL', value, command: ['status'] })),
  ];
  it.each(cases.map((entry) => ({ ...entry, told: shown(entry.value) })))(
    '$command.0: $name=$told',
    async ({ name, value, command }) => {
      const env = { LONGTAIL_ACCESS_TOKEN: 'a-token', [name]: value };
      expectRefusal(await runInProcess(command, env));
      expect(left()).toEqual([]);
    },
  );
});
