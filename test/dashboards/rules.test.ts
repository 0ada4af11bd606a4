/** Each alert fires when it should, and not before: by promtool's own unit tests. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ALERTS, type Alert } from '../../scripts/dashboards/alerts.ts';
import { whyNot } from './support/tools.ts';

const RULES = fileURLToPath(new URL('../../dashboards/longtail.rules.yml', import.meta.url));
const P = { longtail_property: 'sc-domain:a.example', instance: 'one:9465' };

interface Case {
  readonly alert: string;
  /** Series and their values, in promtool's notation. */
  readonly series: Readonly<Record<string, string>>;
  /** When it must not have fired yet, and when it must have. */
  readonly quiet: string;
  readonly firing: string;
  /** Of the firing alert, beside the property, the instance and the severity. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly hasProperty?: false;
  /** Between two values and two evaluations. @default '1m' */
  readonly step?: '5m';
  readonly summary: string;
}

const labelled = (name: string, more: Readonly<Record<string, string>> = {}): string =>
  `${name}{${Object.entries({ ...P, ...more })
    .map(([label, value]) => `${label}="${value}"`)
    .join(',')}}`;
const dataset = { longtail_search_type: 'web', longtail_dataset: 'page' };

const CASES: readonly Case[] = [
  {
    alert: 'LongtailNoSuccess',
    // promtool's clock begins in 1970: a success at its second hour.
    series: {
      [labelled('longtail_database_last_success_timestamp_seconds')]: '7200x480',
      [labelled('longtail_database_under_way')]: '0x480',
    },
    step: '5m',
    quiet: '27h',
    firing: '29h',
    summary: 'sc-domain:a.example: no complete run for more than 26 hours',
  },
  {
    alert: 'LongtailRunFailed',
    series: {
      [labelled('longtail_database_last_run_outcome', { longtail_run_outcome: 'failed' })]: '0x10 1x10',
      [labelled('longtail_database_last_run_outcome', { longtail_run_outcome: 'halted' })]: '1x20',
    },
    quiet: '9m',
    firing: '15m',
    labels: { longtail_run_outcome: 'failed' },
    summary: 'sc-domain:a.example: the last run failed',
  },
  {
    alert: 'LongtailFailedDays',
    series: {
      [labelled('longtail_database_slices', { ...dataset, longtail_slice_state: 'failed' })]: '3x400',
    },
    step: '5m',
    quiet: '25h',
    firing: '27h',
    labels: { ...dataset, longtail_slice_state: 'failed' },
    summary: 'sc-domain:a.example: 3 days of page stay failed',
  },
  {
    alert: 'LongtailShrunk',
    series: { [labelled('longtail_database_shrunk_slices', dataset)]: '0x10 2x10' },
    quiet: '9m',
    firing: '15m',
    labels: dataset,
    summary: 'sc-domain:a.example: 2 days of page came back with much less than before',
  },
  {
    alert: 'LongtailCapped',
    // Days that were capped all along are no news.
    series: { [labelled('longtail_database_capped_slices', dataset)]: '5x320 6x40' },
    step: '5m',
    quiet: '26h',
    firing: '28h',
    labels: dataset,
    summary: 'sc-domain:a.example: new days of page reach the most rows that Google returns',
  },
  {
    alert: 'LongtailRefusals',
    series: { [labelled('longtail_quota_refusals_total', { longtail_quota_kind: 'qps' })]: '0x10 1x10' },
    quiet: '9m',
    firing: '15m',
    labels: { longtail_quota_kind: 'qps' },
    summary: 'sc-domain:a.example: Google refused requests (qps)',
  },
  {
    alert: 'LongtailCooling',
    series: { [labelled('longtail_quota_coolings_total', { longtail_quota_kind: 'load' })]: '0x10 1x10' },
    quiet: '9m',
    firing: '15m',
    labels: { longtail_quota_kind: 'load' },
    summary: 'sc-domain:a.example: requests wait after a refusal (load)',
  },
  {
    alert: 'LongtailApproachingForLong',
    series: {
      [labelled('longtail_quota_used', { longtail_quota_scope: 'site' })]: '1000x200',
      [labelled('longtail_quota_limit', { longtail_quota_scope: 'site' })]: '1200x200',
    },
    quiet: '50m',
    firing: '70m',
    labels: { longtail_quota_scope: 'site' },
    summary: 'sc-domain:a.example: more than 80 % of the quota (site) is used for 60 minutes',
  },
  {
    alert: 'LongtailCallsFail',
    series: {
      [labelled('longtail_calls_total', { longtail_call_outcome: 'answered' })]: '0+3x100',
      [labelled('longtail_calls_total', { longtail_call_outcome: 'failed' })]: '0+1x100',
    },
    quiet: '10m',
    firing: '30m',
    summary: 'sc-domain:a.example: 25% of the calls fail',
  },
  {
    alert: 'LongtailGoogleAway',
    series: { [labelled('longtail_run_state', { longtail_run_state: 'waitingForGoogle' })]: '0x10 1x20' },
    quiet: '12m',
    firing: '20m',
    labels: { longtail_run_state: 'waitingForGoogle' },
    summary: 'sc-domain:a.example: Search Console does not answer',
  },
  {
    alert: 'LongtailDatabaseAway',
    series: { 'longtail_database_up{instance="one:9465"}': '1x10 0x20' },
    quiet: '12m',
    firing: '20m',
    hasProperty: false,
    summary: 'The database does not answer, or takes no writes',
  },
  {
    alert: 'LongtailHaltLate',
    series: { [labelled('longtail_halt_overruns_total')]: '0x10 1x10' },
    quiet: '9m',
    firing: '15m',
    summary: 'sc-domain:a.example: a halt took longer than its deadline',
  },
  {
    alert: 'LongtailMemory',
    series: { [labelled('longtail_memory_bytes')]: '1073741824x60' },
    quiet: '5m',
    firing: '20m',
    summary: 'sc-domain:a.example: the process uses 1GiB of memory',
  },
];

const reason = whyNot('promtool');
let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'longtail-rules-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What promtool says; throws what it says if a test of its fails. */
function promtool(...args: readonly string[]): string {
  try {
    return execFileSync('promtool', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    if (error instanceof Error && 'stdout' in error && 'stderr' in error)
      throw new Error(`${String(error.stdout)}${String(error.stderr)}`);
    throw error;
  }
}

function testOf(name: string, step: string, tests: object): string {
  const path = join(folder, `${name}.test.yml`);
  // JSON is YAML.
  writeFileSync(
    path,
    JSON.stringify({ rule_files: [RULES], evaluation_interval: step, tests: [{ interval: step, ...tests }] }),
  );
  return path;
}

function alertOf(name: string): Alert {
  const alert = ALERTS.find((one) => one.name === name);
  if (alert === undefined) throw new Error(`no alert ${name}`);
  return alert;
}

it('every alert is tried', () => {
  expect(CASES.map(({ alert }) => alert).sort()).toEqual(ALERTS.map(({ name }) => name).sort());
});

describe.skipIf(reason !== undefined)(`with promtool${reason === undefined ? '' : `: ${reason}`}`, () => {
  it('the rules are right', () => {
    expect(promtool('check', 'rules', RULES)).toContain(`SUCCESS: ${ALERTS.length} rules found`);
  });

  it.each(CASES.map((one) => [one.alert, one] as const))('%s', (name, one) => {
    const { severity, meaning } = alertOf(name);
    const { longtail_property, instance } = P;
    const expected = {
      exp_labels: {
        severity,
        instance,
        ...(one.hasProperty === false ? {} : { longtail_property }),
        ...one.labels,
      },
      exp_annotations: {
        summary: one.summary,
        description: meaning,
        runbook: `longtail/docs/alerts.md#${name.toLowerCase()}`,
      },
    };
    const path = testOf(name, one.step ?? '1m', {
      input_series: Object.entries(one.series).map(([series, values]) => ({ series, values })),
      alert_rule_test: [
        { eval_time: one.quiet, alertname: name, exp_alerts: [] },
        { eval_time: one.firing, alertname: name, exp_alerts: [expected] },
      ],
    });
    expect(promtool('test', 'rules', path)).toContain('SUCCESS');
  });

  it('a first run that takes longer than a day is no reason to wake anybody, until it has stopped', () => {
    const name = 'LongtailNoSuccess';
    const series = {
      [labelled('longtail_database_last_success_timestamp_seconds')]: '0x480',
      [labelled('longtail_database_under_way')]: '1x360 0x120',
    };
    const { meaning, severity } = alertOf(name);
    const path = testOf('first-run', '5m', {
      input_series: Object.entries(series).map(([of, values]) => ({ series: of, values })),
      alert_rule_test: [
        { eval_time: '29h', alertname: name, exp_alerts: [] },
        {
          eval_time: '31h',
          alertname: name,
          exp_alerts: [
            {
              exp_labels: { severity, ...P },
              exp_annotations: {
                summary: 'sc-domain:a.example: no complete run for more than 26 hours',
                description: meaning,
                runbook: 'longtail/docs/alerts.md#longtailnosuccess',
              },
            },
          ],
        },
      ],
    });
    expect(promtool('test', 'rules', path)).toContain('SUCCESS');
  });
});
