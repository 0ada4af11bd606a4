import { expect, it, vi } from 'vitest';
import { systemClock } from '../../src/domain/clock.ts';
import { Api } from '../../src/emulator/api.ts';
import { type Emulator, startEmulator } from '../../src/emulator/index.ts';
import { EmulatorServer } from '../../src/emulator/server.ts';
import { queryUrl, SITE, TODAY } from './support.ts';

const BATCH = (startRow: number): string =>
  ['a', 'b']
    .map((id) => {
      const body = JSON.stringify({
        startDate: '2026-05-01',
        endDate: '2026-05-01',
        dimensions: [id === 'a' ? 'page' : 'query'],
        startRow,
      });
      const path = `/webmasters/v3/sites/${encodeURIComponent(SITE)}/searchAnalytics/query`;
      return `--x\r\nContent-Type: application/http\r\nContent-ID: <${id}>\r\n\r\nPOST ${path}\r\n\r\n${body}\r\n`;
    })
    .join('');

async function ask(emulator: Emulator, agent: string, startRow = 0): Promise<string> {
  const answer = await fetch(`${emulator.url}batch`, {
    method: 'POST',
    headers: {
      authorization: 'Bearer x',
      'content-type': 'multipart/mixed; boundary=x',
      'user-agent': agent,
    },
    body: `${BATCH(startRow)}--x--`,
  });
  const text = await answer.text();
  // Boundaries differ from call to call.
  return text.replaceAll(/batch_\w+/g, 'batch');
}

it.each(['plain', 'a client (gzip)'])('answers that are kept are the same answers: %s', async (agent) => {
  const options = { sites: [SITE], today: TODAY, rowsPerDay: 300 };
  await using made = await startEmulator(options);
  await using kept = await startEmulator({ ...options, answerCacheBytes: 1 << 20 });
  const wanted = await ask(made, agent);
  expect(wanted).toContain('"clicks"');
  for (let time = 0; time < 3; time += 1) expect(await ask(kept, agent)).toBe(wanted);
  expect(await ask(kept, agent, 5)).toBe(await ask(made, agent, 5));
});

it('faults fall on answers that are kept, too', async () => {
  await using kept = await startEmulator({
    sites: [SITE],
    today: TODAY,
    rowsPerDay: 300,
    answerCacheBytes: 1 << 20,
    faults: {
      seed: 1,
      rules: [{ match: { endpoint: 'batch' }, every: 2, action: { kind: 'status', status: 503 } }],
    },
  });
  const answers = [await ask(kept, 'plain'), await ask(kept, 'plain')];
  expect(answers.filter((answer) => answer.includes('"clicks"'))).toHaveLength(1);
});

it('an answer that was prepared is the same answer, and nothing is made when it is asked for', async () => {
  const options = { sites: [SITE], today: TODAY, rowsPerDay: 300 };
  const asked = { startDate: '2026-05-01', endDate: '2026-05-01', dimensions: ['page'], startRow: 7 };
  const answerOf = async (emulator: Pick<Emulator, 'url'>): Promise<string> => {
    const headers = { authorization: 'Bearer x', 'user-agent': 'a client (gzip)' };
    const url = queryUrl(emulator, SITE, '?prettyPrint=false');
    return (await fetch(url, { method: 'POST', headers, body: JSON.stringify(asked) })).text();
  };
  await using made = await startEmulator(options);
  const api = new Api(options);
  const server = new EmulatorServer(api, { ...options, answerCacheBytes: 1 << 20 }, systemClock);
  await server.listen();
  try {
    const making = vi.spyOn(api, 'table');
    await server.prepare(SITE, asked);
    expect(making).toHaveBeenCalledTimes(1);
    expect(await answerOf(server)).toBe(await answerOf(made));
    expect(making).toHaveBeenCalledTimes(1);
    await expect(server.prepare(SITE, { ...asked, startDate: 'today' })).rejects.toMatchObject({
      code: 'BAD_OPTION',
    });
  } finally {
    await server.close();
  }
});
