import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { isIPv4 } from 'node:net';

/** A private key and its certificate, as PEM. */
export interface Certified {
  readonly key: string;
  readonly cert: string;
}

/** A certificate authority of one's own, as companies have them. */
export interface Authority {
  /** Its own certificate, as PEM. */
  readonly cert: string;
  /** A server's key and certificate, for names and IPv4 addresses. */
  certify(...hosts: readonly string[]): Certified;
}

const SEQUENCE = 0x30;
const ECDSA_WITH_SHA256 = tlv(SEQUENCE, oid('2a8648ce3d040302'));

/** Made in a moment, and good until 2049. */
export function createAuthority(name = 'Longtail test authority'): Authority {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const issue = (subject: string, key: KeyObject, extension: Buffer): string =>
    certificate({ issuer: name, subject, key, extension, signer: privateKey });
  // basicConstraints, critical: CA.
  const isAuthority = tlv(
    SEQUENCE,
    oid('551d13'),
    tlv(0x01, Buffer.from([0xff])),
    tlv(0x04, tlv(SEQUENCE, tlv(0x01, Buffer.from([0xff])))),
  );
  return {
    cert: issue(name, publicKey, isAuthority),
    certify(...hosts) {
      const server = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const names = hosts.map((host) =>
        isIPv4(host) ? tlv(0x87, Buffer.from(host.split('.').map(Number))) : tlv(0x82, Buffer.from(host)),
      );
      // subjectAltName
      const extension = tlv(SEQUENCE, oid('551d11'), tlv(0x04, tlv(SEQUENCE, ...names)));
      return {
        key: server.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
        cert: issue(hosts[0] ?? 'nobody', server.publicKey, extension),
      };
    },
  };
}

let serial = 1;

function certificate(of: {
  readonly issuer: string;
  readonly subject: string;
  readonly key: KeyObject;
  readonly extension: Buffer;
  readonly signer: KeyObject;
}): string {
  const body = tlv(
    SEQUENCE,
    tlv(0xa0, tlv(0x02, Buffer.from([2]))),
    tlv(0x02, Buffer.from([serial++])),
    ECDSA_WITH_SHA256,
    commonName(of.issuer),
    tlv(SEQUENCE, tlv(0x17, Buffer.from('200101000000Z')), tlv(0x17, Buffer.from('491231235959Z'))),
    commonName(of.subject),
    of.key.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, tlv(SEQUENCE, of.extension)),
  );
  const signature = tlv(0x03, Buffer.from([0]), sign('sha256', body, of.signer));
  const der = tlv(SEQUENCE, body, ECDSA_WITH_SHA256, signature);
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

function commonName(name: string): Buffer {
  return tlv(SEQUENCE, tlv(0x31, tlv(SEQUENCE, oid('550403'), tlv(0x0c, Buffer.from(name)))));
}

function oid(hex: string): Buffer {
  return tlv(0x06, Buffer.from(hex, 'hex'));
}

/** A value of ASN.1's DER: what it is, how long, and what is in it. */
function tlv(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
