/**
 * Draws the report's figures as one picture: `npm run bench:draw [-- folder]`. Reads `report.json` and writes `bench.svg`
 * next to it. Parts that are missing in the report are left out.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { DataFigures } from './parts/data.ts';
import type { GrowthFigures } from './parts/growth.ts';
import type { LatencyFigures } from './parts/latency.ts';
import type { PeerFigures } from './parts/peers.ts';
import type { PartReport, Report } from './support/report.ts';
import { type Bar, bars, dot, dots, type Frame, type Ink, line, path, picture, text } from './support/svg.ts';
import { megabytes, seconds, whole } from './support/text.ts';

interface Panel {
  readonly title: string;
  readonly note: string;
  readonly height: number;
  readonly draw: (frame: Frame) => string[];
}

const WIDTH = 960;
const COLUMN = WIDTH / 2;
const MARGIN = 20;
const HEAD = 52;

const folder = process.argv[2] ?? fileURLToPath(new URL('./results', import.meta.url));
// Written by main.ts, with these figures.
const { parts } = JSON.parse(await readFile(`${folder}/report.json`, 'utf8')) as Report;
const panels = [
  ...panelOf(parts.latency, latencyPanel),
  ...panelOf(parts.data, (figures: DataFigures) => dataPanel(figures, peersIn(parts.peers))),
  ...panelOf(parts.peers, peersPanel),
  ...panelOf(parts.growth, growthPanel),
];
await writeFile(`${folder}/bench.svg`, compose(panels));
console.log(`The picture is ${folder}/bench.svg.`);

/** The report's JSON contains the figures of each part under its name. */
function panelOf<Figures>(part: PartReport | undefined, make: (figures: Figures) => Panel): Panel[] {
  return part === undefined ? [] : [make(part.figures as Figures)];
}

function peersIn(part: PartReport | undefined): PeerFigures | undefined {
  return part === undefined ? undefined : (part.figures as PeerFigures);
}

function compose(all: readonly Panel[]): string {
  const shapes: string[] = [];
  let top = MARGIN;
  for (let index = 0; index < all.length; index += 2) {
    const row = all.slice(index, index + 2);
    for (const [place, { title, note, draw }] of row.entries()) {
      const x = MARGIN + place * COLUMN;
      shapes.push(text(x, top + 14, title, { kind: 'title' }), text(x, top + 33, note, { kind: 'note' }));
      shapes.push(...draw({ x, y: top + HEAD, width: COLUMN - 2 * MARGIN }));
    }
    top += HEAD + Math.max(...row.map(({ height }) => height)) + 24;
  }
  return picture(WIDTH, top, 'Longtail’s bench', shapes);
}

function latencyPanel({ slices, latencyMs, batches, plain }: LatencyFigures): Panel {
  const items: Bar[] = [...batches, ...plain].map(({ concurrency, batchSize, wallMs, idealMs }) => ({
    name: batchSize === 1 ? `${concurrency}, plain` : String(concurrency),
    value: wallMs,
    label: seconds(wallMs),
    ink: batchSize === 1 ? 'limit' : 'ours',
    mark: idealMs,
  }));
  return {
    title: `${whole(slices)} slices, ${seconds(latencyMs)} a call, by concurrency`,
    note: 'Batches of 50; plain requests in grey. The mark is the critical path.',
    height: items.length * 26,
    draw: (frame) => bars(frame, 70, items),
  };
}

function dataPanel(figures: DataFigures, peers: PeerFigures | undefined): Panel {
  const { rows, copyOne, copyTwo, answers, sharedCpuMs, cores } = figures;
  const bar = (name: string, ms: number, ink: Ink): Bar => {
    const rate = rows / (ms / 1_000);
    return { name, value: rate, label: `${whole(rate / 1_000)} k rows/s`, ink };
  };
  const client = figures.psql === null ? 'COPY' : 'psql COPY';
  const items: Bar[] = [
    bar('Longtail', figures.wallMs, 'ours'),
    bar(`${client}, one`, copyOne.wallMs, 'limit'),
    bar(`${client}, two`, copyTwo.wallMs, 'limit'),
    bar('JSON.parse', answers.parseMs, 'limit'),
    ...(sharedCpuMs === null ? [] : [bar(`CPU ÷ ${cores} cores`, sharedCpuMs, 'limit')]),
    ...(peers?.data ?? [])
      .filter(({ isOurs }) => !isOurs)
      .map(({ name, rows: fetched, measuredMs }): Bar => {
        const rate = fetched / (measuredMs / 1_000);
        return {
          name: shortName(name),
          value: rate,
          label: `${whole(rate / 1_000)} k rows/s`,
          ink: 'theirs',
        };
      }),
  ];
  return {
    title: `${whole(rows)} rows: what the machine allows`,
    note: `Longtail at concurrency ${figures.concurrency}, limits alone, and what people use today.`,
    height: items.length * 26,
    draw: (frame) => bars(frame, 110, items),
  };
}

function peersPanel({ latency }: PeerFigures): Panel {
  const items = latency.map(({ name, isOurs, wallMs, isScaled }) => ({
    name: shortName(name),
    value: wallMs,
    label: `${seconds(wallMs)}${isScaled ? ' *' : ''}`,
    ink: isOurs ? ('ours' as const) : ('theirs' as const),
  }));
  return {
    title: 'The slow server, with what people use today',
    note: 'Time of the whole job, logarithmic. * scaled from a sample.',
    height: items.length * 26,
    draw: (frame) => dots(frame, 110, items),
  };
}

function shortName(name: string): string {
  if (name.startsWith('Longtail')) return name.replace('Longtail, concurrency', 'Longtail,');
  if (name.includes('upserts')) return 'upserts';
  return name.includes('p-queue') ? 'p-queue' : 'client in a loop';
}

function growthPanel({ sizes }: GrowthFigures): Panel {
  const height = 170;
  const [mostDays, mostMs] = [
    Math.max(...sizes.map((size) => size.days)),
    Math.max(...sizes.map((size) => size.wallMs)),
  ];
  const isLarge = ({ days }: { readonly days: number }): boolean => days >= mostDays / 4;
  return {
    title: 'Growth: time and peak memory by days',
    note: 'Time, and below it the peak memory of the process.',
    height: height + 40,
    draw: (frame) => {
      const width = frame.width - 90;
      const base = frame.y + height;
      const at = ({ days, wallMs }: { days: number; wallMs: number }): readonly [number, number] => [
        frame.x + 30 + (days / mostDays) * width,
        base - (wallMs / mostMs) * (height - 24),
      ];
      const start: readonly [number, number] = [frame.x + 30, base];
      return [
        line(frame.x + 30, base, frame.x + 30 + width, base, 'rule'),
        path([start, ...sizes.map(at)]),
        ...sizes.flatMap((size) => {
          const [x, y] = at(size);
          const label = isLarge(size) ? [text(x - 8, y - 9, seconds(size.wallMs), { anchor: 'end' })] : [];
          return [dot(x, y, 'ours'), ...label];
        }),
        // The small sizes are too close together for labels of their own.
        ...sizes.filter(isLarge).flatMap((size) => {
          const [x] = at(size);
          return [
            text(x, base + 17, `${size.days} d`, { anchor: 'middle' }),
            text(x, base + 34, megabytes(size.peakRssBytes), { kind: 'note', anchor: 'middle' }),
          ];
        }),
      ];
    },
  };
}
