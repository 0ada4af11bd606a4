/** A PostgreSQL that speaks TLS, made of one that does not: what stands before it asks, encrypts and passes on. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import net, { type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';

export interface TlsServer extends AsyncDisposable {
  /** The target's URL, through this, with the host that the certificate names. */
  readonly url: string;
  /** The certificate, which is its own root. */
  readonly rootFile: string;
  /** Connections that were encrypted. */
  readonly encrypted: number;
}

export interface TlsServerOptions {
  /** Without: what is not encrypted is refused, as pg_hba.conf does with `hostssl`. */
  readonly takesPlain?: boolean;
  /** Without: the server has no TLS. */
  readonly offersTls?: boolean;
  /** The name in the certificate. */
  readonly name?: string;
}

const SSL_REQUEST = 80_877_103;

/** Whether this machine can make certificates. */
export function hasOpenssl(): boolean {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

export async function startTlsServer(
  targetUrl: string,
  { takesPlain = false, offersTls = true, name = 'localhost' }: TlsServerOptions = {},
): Promise<TlsServer> {
  const folder = mkdtempSync(join(tmpdir(), 'longtail-test-tls-'));
  const [keyFile, rootFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  execFileSync(
    'openssl',
    [
      ...[
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
      ],
      ...[
        '-subj',
        `/CN=${name}`,
        '-addext',
        `subjectAltName=DNS:${name}`,
        '-keyout',
        keyFile,
        '-out',
        rootFile,
      ],
    ],
    { stdio: 'ignore' },
  );
  const secureContext = tls.createSecureContext({ key: readFileSync(keyFile), cert: readFileSync(rootFile) });
  const target = new URL(targetUrl);
  const sockets = new Set<Socket>();
  let encrypted = 0;
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
  };
  const passOn = (client: Socket, first?: Buffer): void => {
    const upstream = net.connect({ host: target.hostname, port: Number(target.port) });
    keep(upstream);
    if (first !== undefined) upstream.write(first);
    client.pipe(upstream).pipe(client);
    upstream.on('close', () => client.destroy());
    client.on('close', () => upstream.destroy());
  };
  const server = net.createServer((client) => {
    keep(client);
    client.once('data', (first: Buffer) => {
      const isAsking = first.length === 8 && first.readUInt32BE(4) === SSL_REQUEST;
      if (isAsking && offersTls) {
        client.write('S');
        encrypted += 1;
        const secure = new tls.TLSSocket(client, { isServer: true, secureContext });
        keep(secure);
        passOn(secure);
      } else if (isAsking) {
        client.write('N');
        client.once('data', (next: Buffer) => passOn(client, next));
      } else if (takesPlain) passOn(client, first);
      else client.end(noEntry());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  const url = new URL(targetUrl);
  url.hostname = 'localhost';
  url.port = String(address.port);
  return {
    url: url.href,
    rootFile,
    get encrypted() {
      return encrypted;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function noEntry(): Buffer {
  const message = 'no pg_hba.conf entry for host "127.0.0.1", user "u", database "d", no encryption';
  const text = `SFATAL\0VFATAL\0C28000\0M${message}\0\0`;
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeUInt32BE(Buffer.byteLength(text) + 4, 1);
  return Buffer.concat([head, Buffer.from(text)]);
}
