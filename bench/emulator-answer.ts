/**
 * Measures what an answer of 25,000 page+query rows costs the emulator: `node bench/emulator-answer.ts`. The figure is the
 * CPU time of all its threads per answer, user and system. The emulator has its own process, so no client is included.
 */
import { fork } from 'node:child_process';
import { request } from 'node:http';
import { fileURLToPath } from 'node:url';
import { startEmulator } from '../src/emulator/index.ts';

const ROWS = 25_000;
const SITE = 'sc-domain:example.com';
const ANSWERS = 24;

const toParent = process.send?.bind(process);
if (toParent === undefined) await measure();
else {
  const emulator = await startEmulator({ rowsPerDay: 50_000, today: '2026-06-01' });
  toParent(emulator.url);
  process.on('message', async () => {
    await emulator.close();
    process.disconnect?.();
  });
}

async function measure(): Promise<void> {
  const child = fork(fileURLToPath(import.meta.url), { stdio: 'inherit' });
  const url = await new Promise<string>((resolve) =>
    child.once('message', (message) => resolve(String(message))),
  );
  for (const [name, month, headers, search] of [
    ['compact', '2026-03', {}, '?prettyPrint=false'],
    [
      'compact, gzip',
      '2026-04',
      { 'accept-encoding': 'gzip', 'user-agent': 'bench (gzip)' },
      '?prettyPrint=false',
    ],
    ['pretty', '2026-05', {}, ''],
  ] as const) {
    for (let day = 1; day <= 4; day++) await ask(url, `${month}-2${day}`, 0, headers, search);
    const before = await cpuMs(url);
    let bytes = 0;
    for (let answer = 0; answer < ANSWERS; answer++) {
      const date = `${month}-${String(1 + Math.floor(answer / 2)).padStart(2, '0')}`;
      bytes += await ask(url, date, (answer % 2) * ROWS, headers, search);
    }
    const each = ((await cpuMs(url)) - before) / ANSWERS;
    console.log(
      `${name}: ${each.toFixed(1)} ms CPU, ${(bytes / ANSWERS / 1e6).toFixed(2)} MB an answer of ${ROWS} rows`,
    );
  }
  child.send('end');
}

async function cpuMs(url: string): Promise<number> {
  const stats = (await (await fetch(`${url}__emulator/stats`)).json()) as { cpuMs: number };
  return stats.cpuMs;
}

function ask(
  url: string,
  date: string,
  startRow: number,
  headers: Readonly<Record<string, string>>,
  search: string,
): Promise<number> {
  const body = { startDate: date, endDate: date, dimensions: ['page', 'query'], rowLimit: ROWS, startRow };
  return new Promise((resolve, reject) => {
    const call = request(
      `${url}webmasters/v3/sites/${encodeURIComponent(SITE)}/searchAnalytics/query${search}`,
      { method: 'POST', headers: { authorization: 'Bearer x', ...headers } },
      (response) => {
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
        });
        response.on('end', () => resolve(bytes));
        response.on('error', reject);
      },
    );
    call.on('error', reject);
    call.end(JSON.stringify(body));
  });
}
