import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRedactor } from '../../../src/cli/terminal/redact.ts';

const redact = (text: string): string => createRedactor().redact(text);

describe('redact', () => {
  it('takes passwords out of URLs, whatever is in them', () => {
    expect(redact('connect postgres://me:s3cr@t/x@db.example:5432/a failed')).toBe(
      'connect postgres://me:***@db.example:5432/a failed',
    );
    expect(redact('https://user:pass@proxy.example/')).toBe('https://user:***@proxy.example/');
  });

  it('leaves URLs without a password alone', () => {
    for (const url of [
      'https://www.example.com/',
      'http://127.0.0.1:8080/webmasters?x=a@b',
      'https://example.com:8443/@me/',
      'postgres://db.example:5432/a',
      'sc-domain:example.com',
    ]) {
      expect(redact(url)).toBe(url);
    }
  });

  it.each([
    ['authorization: Bearer abc.def-123', 'abc.def-123'],
    ['token ya29.a0AfH6SMBx-x_y1 refused', 'a0AfH6SMBx'],
    ['refresh 1//0gAbCdEfGhIjKlMnOp', '0gAbCdEfGhIjKlMnOp'],
    ['key=AIzaSyA-1234567890abcdefghijklmnop', 'SyA-1234567890'],
    ['{"private_key": "-----BEGIN PRIVATE KEY-----\\nMIIEv\\n-----END"}', 'MIIEv'],
    ['-----BEGIN RSA PRIVATE KEY-----\nMIIEv\n-----END RSA PRIVATE KEY-----', 'MIIEv'],
    ['assertion=eyJhbGciOi.eyJpc3MiOi.c2lnbmF0dXJl&grant_type=x', 'c2lnbmF0dXJl'],
    ['jwt eyJhbGciOi.eyJpc3MiOi.c2lnbmF0dXJl', 'c2lnbmF0dXJl'],
    ['host=db password=hunter2 user=x', 'hunter2'],
    ['{"access_token":"a\\"b-secret"}', 'b-secret'],
  ])('hides the secret in %j', (text, secret) => {
    expect(text).toContain(secret);
    expect(redact(text)).not.toContain(secret);
  });

  it('hides what it was told of, wherever it stands', () => {
    const redactor = createRedactor();
    redactor.hide('my-own-token');
    redactor.hidePasswordOf('postgres://me:p%40ss-w0rd@db/x');
    expect(redactor.redact('xmy-own-tokenx p@ss-w0rd p%40ss-w0rd')).toBe('x***x *** ***');
  });

  it('never lets a URL’s password through', () => {
    const password = fc.string({ minLength: 1 }).map((text) => encodeURIComponent(`${text}~!`));
    fc.assert(
      fc.property(password, (secret) => {
        const url = `postgres://user:${secret}@db.example:5432/name`;
        expect(redact(`could not connect to ${url}: refused`)).toBe(
          'could not connect to postgres://user:***@db.example:5432/name: refused',
        );
      }),
    );
  });

  it('keeps JSON readable as JSON', () => {
    const json = JSON.stringify({ a: 'postgres://u:pw@h/d', private_key: 'x"y', b: 'Bearer abcdefgh' });
    expect(JSON.parse(redact(json))).toEqual({
      a: 'postgres://u:***@h/d',
      private_key: '***',
      b: 'Bearer ***',
    });
  });
});
