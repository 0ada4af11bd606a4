/** A verification's outcome: for people on a terminal, as a Markdown report, and as JSON. */
import type { RowFigures, WhyNotAsked } from '../domain/row-check.ts';
import type {
  Difference,
  VerificationFigures,
  VerificationOutcome,
  VerificationProgress,
  VerificationState,
  VerifiedKey,
} from '../sync/verification/types.ts';
import { haltWords } from './events.ts';
import { count, counted, cut, duration, pairs, plain } from './render.ts';
import type { Paint } from './summary.ts';

const DIFFERENCES_SHOWN = 10;
const REASONS_SHOWN = 5;

/** For people, at most `columns` wide. */
export function summariseVerification(outcome: VerificationOutcome, paint: Paint, columns: number): string {
  const parts = [headline(outcome, paint), pairs(figures(outcome))];
  if (outcome.differences.length > 0) parts.push(differencesIn(outcome.differences, paint, columns));
  if (outcome.unansweredKeys.length > 0) parts.push(unansweredIn(outcome));
  const next = nextStep(outcome);
  if (next !== '') parts.push(next);
  return parts.join('\n\n');
}

function headline(outcome: VerificationOutcome, paint: Paint): string {
  const what = `${plain(outcome.siteUrl)}, ${outcome.from} to ${outcome.to}`;
  switch (outcome.status) {
    case 'equal':
      return `${paint.good('Equal')}: ${what}`;
    case 'different':
      return `${paint.bad('Different')}: ${what}`;
    case 'incomplete':
      return `${paint.bad('Not all could be compared')}: ${what}`;
    case 'halted':
      return `${paint.bad('Halted')}: ${haltWords(outcome.haltReason)}\n${what}`;
    case 'failed':
      return `${paint.bad('Failed')}: ${plain(outcome.failure.message)}\n${what}`;
  }
}

function figures(outcome: VerificationFigures): (readonly [string, string])[] {
  const { drawn, population, unanswered, skipped, notAsked, daysTooOld } = outcome;
  const results = [
    `${count(outcome.equal)} equal`,
    `${count(outcome.different)} different`,
    unanswered > 0 ? `${count(unanswered)} without an answer` : '',
    notAsked > 0 ? `${count(notAsked)} not asked` : '',
  ];
  const refusals = outcome.quotaRefusals;
  const requests = [
    `${count(outcome.apiCalls)} in ${counted(outcome.httpCalls, 'call')}`,
    refusals > 0 ? counted(refusals, 'refusal because of the quota', 'refusals because of the quota') : '',
  ];
  return [
    ['Drawn from', `${counted(population.rows, 'row')} of ${counted(population.slices, 'final slice')}`],
    ...(daysTooOld > 0
      ? [['Too old', `${counted(daysTooOld, 'day')} that Google no longer has`] as const]
      : []),
    ['Drawn', drawnWords(drawn)],
    ['Seed', String(outcome.seed)],
    ['Result', results.filter(Boolean).join(', ')],
    ...(skipped > 0 ? [['Skipped', skippedWords(outcome)] as const] : []),
    ['Requests', outcome.apiCalls === 0 ? 'none' : requests.filter(Boolean).join(', ')],
    ['Time', duration(outcome.durationMs)],
  ];
}

const drawnWords = ({ rows, absent }: VerificationFigures['drawn']): string =>
  absent === 0
    ? counted(rows, 'row')
    : `${counted(rows, 'row')}, ${counted(absent, 'key')} that the table does not have`;

const WHY: Readonly<Record<WhyNotAsked, string>> = {
  tooLong: 'longer than a filter takes',
  replacedCharacters: 'with a character that PostgreSQL cannot store',
  empty: 'with an empty value',
};

function skippedWords({ skippedKeys }: VerificationFigures): string {
  const byReason = Map.groupBy(skippedKeys, ({ why }) => why);
  return [...byReason].map(([why, keys]) => `${counted(keys.length, 'key')} ${WHY[why]}`).join(', ');
}

function differencesIn(differences: readonly Difference[], paint: Paint, columns: number): string {
  const blocks = differences.slice(0, DIFFERENCES_SHOWN).map((difference) => {
    const key = keyWords(difference);
    const lines = [
      `  ${nameOf(difference)}`,
      ...(key === '' ? [] : [`    ${paint.weak(cut(key, columns - 4))}`]),
      `    ${whatDiffers(difference)}`,
      `    ${paint.weak(datesOf(difference))}`,
    ];
    return lines.join('\n');
  });
  const rest = differences.length - DIFFERENCES_SHOWN;
  if (rest > 0) blocks.push(`  and ${count(rest)} more (all of them: --json or --report)`);
  return ['What differs:', ...blocks].join('\n');
}

const nameOf = ({ date, dataset, searchType }: VerifiedKey): string =>
  searchType === 'web' ? `${date} ${dataset}` : `${date} ${dataset} (${searchType})`;

const keyWords = ({ key }: VerifiedKey): string => Object.values(key).map(plain).join(' · ');

/** `clicks 12 → 13 (+1), position 3.1 → 3.2 (+0.1)`: the table's figure, then Google's. */
function whatDiffers({ kind, table, google }: Difference): string {
  if (table === null || google === null) {
    const found = table ?? google;
    const where = kind === 'missingAtGoogle' ? 'only in the table' : 'only at Google';
    return found === null ? where : `${where}: ${figureWords(found)}`;
  }
  const changes = [
    change('clicks', table.clicks, google.clicks),
    change('impressions', table.impressions, google.impressions),
    change('position', table.position, google.position),
  ];
  return changes.filter((text) => text !== undefined).join(', ');
}

const figureWords = ({ clicks, impressions, position }: RowFigures): string =>
  [
    counted(clicks, 'click'),
    counted(impressions, 'impression'),
    position === null ? '' : `position ${position}`,
  ]
    .filter(Boolean)
    .join(', ');

function change(name: string, table: number | null, google: number | null): string | undefined {
  if (table === google) return undefined;
  const shown = (value: number | null): string =>
    value === null ? 'none' : Number.isInteger(value) ? count(value) : String(value);
  const by = table === null || google === null ? undefined : google - table;
  const difference = by === undefined ? '' : ` (${by > 0 ? '+' : ''}${rounded(by)})`;
  return `${name} ${shown(table)} → ${shown(google)}${difference}`;
}

const rounded = (value: number): string =>
  Number.isInteger(value) ? count(value) : String(Number(value.toPrecision(3)));

const moment = (iso: string): string => `${iso.slice(0, 16).replace('T', ' ')} UTC`;

const datesOf = ({ fetchedAt, version, askedAt }: Difference): string =>
  `version ${version} fetched ${moment(fetchedAt)}, Google asked ${moment(askedAt)}`;

function unansweredIn({ unansweredKeys }: VerificationFigures): string {
  const groups = [...Map.groupBy(unansweredKeys, ({ reason }) => reason)];
  const lines = groups
    .slice(0, REASONS_SHOWN)
    .map(([reason, keys]) => `  ${count(keys.length)} × ${plain(reason)}`);
  const rest = groups.length - REASONS_SHOWN;
  if (rest > 0) lines.push(`  and ${counted(rest, 'other reason')} (all of them: --json)`);
  return ['Without an answer:', ...lines].join('\n');
}

function nextStep(outcome: VerificationOutcome): string {
  switch (outcome.status) {
    case 'equal':
      return '';
    case 'different':
      return [
        'Google may have changed these days since they were fetched: sync --refresh',
        'fetches them again, and the same seed then draws them again.',
      ].join('\n');
    case 'incomplete':
      return 'Run it again with the same seed: it asks for the same keys.';
    case 'halted':
      return 'Run it again with the same seed: it draws the same sample.';
    case 'failed':
      return plain(outcome.failure.nextStep);
  }
}

/** The public JSON contract: exactly these fields. */
export function jsonOfVerification(outcome: VerificationOutcome): string {
  const { status, haltReason, siteUrl, from, to, dataset, searchType, seed, sample, population } = outcome;
  const { daysTooOld, drawn, equal, different, unanswered, skipped, notAsked } = outcome;
  const { apiCalls, httpCalls, quotaRefusals, durationMs } = outcome;
  const { differences, unansweredKeys, skippedKeys } = outcome;
  return JSON.stringify({
    status,
    siteUrl,
    from,
    to,
    dataset,
    searchType,
    seed,
    sample,
    population,
    daysTooOld,
    drawn,
    equal,
    different,
    unanswered,
    skipped,
    notAsked,
    apiCalls,
    httpCalls,
    quotaRefusals,
    durationMs,
    haltReason,
    differences,
    unansweredKeys,
    skippedKeys,
    ...(outcome.status === 'failed' ? { failure: outcome.failure } : {}),
  });
}

/** A report to keep or to send, with every difference. `today` is the day on which it was made. */
export function reportOfVerification(outcome: VerificationOutcome, today: string): string {
  const noPaint: Paint = { good: (text) => text, bad: (text) => text, weak: (text) => text };
  const [what = ''] = headline(outcome, noPaint).split('\n');
  const parts = [
    '# Verification',
    `**${escaped(what)}**`,
    `Made on ${today}. Rows of the table were drawn at random and asked for at Google, one by one.`,
    table(['', ''], figures(outcome)),
  ];
  if (outcome.differences.length > 0) {
    const rows = outcome.differences.map((difference) => [
      nameOf(difference),
      keyWords(difference),
      whatDiffers(difference),
      `version ${difference.version}, ${moment(difference.fetchedAt)}`,
      moment(difference.askedAt),
    ]);
    parts.push(
      '## What differs',
      'The table’s figure stands before the arrow, Google’s behind it.',
      table(['Day and dataset', 'Key', 'Difference', 'Fetched', 'Asked'], rows),
    );
  }
  if (outcome.unansweredKeys.length > 0) {
    const rows = outcome.unansweredKeys.map((key) => [nameOf(key), keyWords(key), key.reason]);
    parts.push('## Without an answer', table(['Day and dataset', 'Key', 'Reason'], rows));
  }
  const next = nextStep(outcome);
  if (next !== '') parts.push(escaped(next));
  return `${parts.join('\n\n')}\n`;
}

function table(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(escaped).join(' | ')} |`;
  return [line(titles), `|${titles.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}

/** Text from outside as Markdown shows it: no markup, no new cell, no new line. */
function escaped(text: string): string {
  return plain(text)
    .replace(/[\\`*_[\]<>|#~]/g, (character) => `\\${character}`)
    .trim();
}

const STATE_WORDS: Readonly<Record<VerificationState, string>> = {
  drawing: 'Drawing the sample',
  waitingForTokens: 'Waiting for quota',
  asking: 'Asking Google',
  waiting: 'Waiting to try again',
  halting: 'Ending',
  ended: 'Ended',
};

/** One line of progress. */
export function verificationLine({ state, done, drawn, different }: VerificationProgress): string {
  if (drawn === 0) return `${STATE_WORDS[state]} …`;
  return `${STATE_WORDS[state]}: ${count(done)} of ${counted(drawn, 'key')}, ${count(different)} different`;
}
