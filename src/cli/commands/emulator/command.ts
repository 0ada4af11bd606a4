import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { LongtailError } from '../../../domain/errors.ts';
import { quoted, shownPath } from '../../../domain/quoted.ts';
import {
  type Emulator,
  type EmulatorOptions,
  type Faults,
  parseFaults,
  startEmulator,
} from '../../../emulator/index.ts';

const DEFAULT_PORT = 8_787;
const DEFAULT_SITE = 'sc-domain:example.com';
const MAX_ROWS_PER_DAY = 500_000;

interface EmulatorFlags {
  readonly port: string;
  readonly host: string;
  readonly seed: string;
  readonly site: readonly string[];
  readonly rowsPerDay: string;
  readonly latencyMs: string;
  readonly qpm: string;
  readonly faults?: string;
}

/** `longtail emulator`: the Search Console API on this machine, until SIGINT or SIGTERM. */
export function registerEmulator(program: Command): void {
  program
    .command('emulator')
    .description('serve an emulated Search Console API on this machine')
    .option('--port <n>', 'port to listen on; 0 picks a free one', String(DEFAULT_PORT))
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--seed <n>', 'seed of the data: the same seed gives the same rows', '1')
    .option('--site <url>', `a property to serve; may be repeated (default: ${DEFAULT_SITE})`, collect, [])
    .option('--rows-per-day <n>', 'rows of page+query for a day of type web', '1000')
    .option('--latency-ms <n>', 'delay of each answer', '0')
    .option('--qpm <n>', 'quota: requests per minute, per property and per user', '1200')
    .option('--faults <file>', 'JSON file with the faults to inject')
    .action(async (flags: EmulatorFlags) => {
      const emulator = await startEmulator(await optionsOf(flags));
      const interrupted = nextSignal();
      process.stdout.write(greeting(emulator, flags));
      await interrupted;
      const farewell = summary(emulator);
      await emulator.close();
      process.stdout.write(farewell);
    });
}

async function optionsOf(flags: EmulatorFlags): Promise<EmulatorOptions> {
  const qpm = whole('--qpm', flags.qpm, 1, 1_000_000);
  const faults = flags.faults === undefined ? undefined : await readFaults(flags.faults);
  return {
    port: whole('--port', flags.port, 0, 65_535),
    host: flags.host,
    seed: whole('--seed', flags.seed, 0, 2 ** 31 - 1),
    sites: sitesOf(flags.site),
    rowsPerDay: whole('--rows-per-day', flags.rowsPerDay, 1, MAX_ROWS_PER_DAY),
    latencyMs: whole('--latency-ms', flags.latencyMs, 0, 600_000),
    quotas: { perSiteQpm: qpm, perUserQpm: qpm },
    ...(faults === undefined ? {} : { faults }),
  };
}

function whole(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new LongtailError(
    'BAD_OPTION',
    `${name} must be a whole number from ${min} to ${max}, not ${quoted(text)}.`,
    'See longtail emulator --help.',
  );
}

function sitesOf(urls: readonly string[]): readonly string[] {
  for (const url of urls) {
    const isDomain = /^sc-domain:[^\s/:]+$/.test(url);
    const isPrefix = /^https?:\/\//.test(url) && url.endsWith('/') && URL.canParse(url);
    if (!isDomain && !isPrefix) {
      throw new LongtailError(
        'BAD_OPTION',
        `--site ${quoted(url)} is not a property.`,
        'Write sc-domain:example.com, or https://www.example.com/ with the slash at its end.',
      );
    }
  }
  return urls.length === 0 ? [DEFAULT_SITE] : urls;
}

async function readFaults(file: string): Promise<Faults> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new LongtailError(
      'BAD_OPTION',
      `--faults ${shownPath(file)} cannot be read.`,
      'Give the path of a JSON file.',
      {
        cause: error,
      },
    );
  }
  return parseFaults(text);
}

function greeting({ url }: Emulator, { site }: EmulatorFlags): string {
  const sites = sitesOf(site);
  return [
    `The emulated Search Console API listens on ${url}`,
    `Properties: ${sites.join(', ')}`,
    'In another terminal:',
    `  LONGTAIL_ACCESS_TOKEN=anything npx longtail sync --site ${sites[0]} --api-root ${url}`,
    'Ctrl-C stops it.',
    '',
  ].join('\n');
}

function summary({ counters }: Emulator): string {
  const { httpCalls, apiCalls, refusals, maxInAnyWindow } = counters;
  return `${apiCalls} API calls in ${httpCalls} HTTP calls, ${refusals} refused because of the quota; at most ${maxInAnyWindow} in any 60 seconds.\n`;
}

/** Resolves at the first SIGINT or SIGTERM. A second one ends the process as usual. */
function nextSignal(): Promise<void> {
  return new Promise((resolve) => {
    const stop = (): void => {
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
      resolve();
    };
    process.on('SIGINT', stop);
    process.on('SIGTERM', stop);
  });
}

function collect(value: string, previous: readonly string[]): readonly string[] {
  return [...previous, value];
}
