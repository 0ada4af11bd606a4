/** The panels of the Grafana dashboard. */
import { THRESHOLDS } from '../../src/domain/thresholds.ts';

export interface Panel {
  readonly title: string;
  readonly description?: string;
  readonly type: 'timeseries' | 'stat' | 'table' | 'bargauge';
  /** A unit of Grafana's: `s`, `bytes`, `percentunit`, `short`. */
  readonly unit: string;
  /** In 24ths of the width. */
  readonly width: number;
  readonly queries: readonly { readonly expr: string; readonly legend: string }[];
  /** From here on red. */
  readonly red?: number;
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

const P = 'longtail_property=~"$property"';
const rate = (metric: string, more = ''): string => `rate(${metric}{${P}${more}}[$__rate_interval])`;
const DAY_S = 86_400;

export const ROWS: readonly Row[] = [
  {
    title: 'What we have (from the database)',
    panels: [
      {
        title: 'Since the last success',
        type: 'stat',
        unit: 's',
        width: 6,
        red: THRESHOLDS.successHours * 3_600,
        queries: [
          {
            expr: `time() - longtail_database_last_success_timestamp_seconds{${P}} > 0`,
            legend: '{{longtail_property}}',
          },
        ],
      },
      {
        title: 'Days behind',
        description:
          'From the newest complete day to today in Pacific time. Google publishes after two or three.',
        type: 'stat',
        unit: 'short',
        width: 6,
        red: 5,
        queries: [
          {
            expr: `max by (longtail_property) (longtail_database_days_behind{${P}})`,
            legend: '{{longtail_property}}',
          },
        ],
      },
      {
        title: 'Days by state',
        type: 'bargauge',
        unit: 'short',
        width: 6,
        queries: [
          {
            expr: `sum by (longtail_slice_state) (longtail_database_slices{${P}})`,
            legend: '{{longtail_slice_state}}',
          },
        ],
      },
      {
        title: 'Capped and shrunk days',
        type: 'stat',
        unit: 'short',
        width: 6,
        queries: [
          {
            expr: `sum by (longtail_dataset) (longtail_database_capped_slices{${P}})`,
            legend: 'capped {{longtail_dataset}}',
          },
          {
            expr: `sum by (longtail_dataset) (longtail_database_shrunk_slices{${P}})`,
            legend: 'shrunk {{longtail_dataset}}',
          },
        ],
      },
      {
        title: 'Rows',
        type: 'timeseries',
        unit: 'short',
        width: 8,
        queries: [
          {
            expr: `sum by (longtail_property, longtail_dataset) (longtail_database_rows{${P}})`,
            legend: '{{longtail_property}} {{longtail_dataset}}',
          },
        ],
      },
      {
        title: 'Runs by outcome, a day',
        type: 'timeseries',
        unit: 'short',
        width: 8,
        queries: [
          {
            expr: `sum by (longtail_run_outcome) (rate(longtail_database_runs_total{${P}}[$__rate_interval])) * ${DAY_S}`,
            legend: '{{longtail_run_outcome}}',
          },
        ],
      },
      {
        title: 'How long the last run took',
        type: 'timeseries',
        unit: 's',
        width: 8,
        queries: [
          { expr: `longtail_database_last_run_duration_seconds{${P}}`, legend: '{{longtail_property}}' },
          { expr: `longtail_database_under_way{${P}}`, legend: 'under way {{longtail_property}}' },
        ],
      },
    ],
  },
  {
    title: 'Runs under way',
    panels: [
      {
        title: 'State',
        type: 'timeseries',
        unit: 'short',
        width: 8,
        queries: [
          {
            expr: `longtail_run_state{${P}} == 1`,
            legend: '{{longtail_property}} {{longtail_run_state}}',
          },
        ],
      },
      {
        title: 'Progress',
        type: 'timeseries',
        unit: 'percentunit',
        width: 8,
        queries: [
          {
            expr: `longtail_slices_done{${P}} / (longtail_slices_planned{${P}} > 0)`,
            legend: '{{longtail_property}}',
          },
        ],
      },
      {
        title: 'Rows a second',
        type: 'timeseries',
        unit: 'short',
        width: 8,
        queries: [
          {
            expr: `sum by (longtail_property) (${rate('longtail_rows_total')})`,
            legend: '{{longtail_property}}',
          },
        ],
      },
      {
        title: 'Quota used',
        description: `The controller does not raise the level above ${THRESHOLDS.quotaShare * 100} %.`,
        type: 'timeseries',
        unit: 'percentunit',
        width: 8,
        red: THRESHOLDS.quotaShare,
        queries: [
          {
            expr: `longtail_quota_used{${P}} / longtail_quota_limit{${P}}`,
            legend: '{{longtail_property}} {{longtail_quota_scope}} {{longtail_quota_window}}',
          },
        ],
      },
      {
        title: 'Refusals, coolings and warnings',
        type: 'timeseries',
        unit: 'short',
        width: 8,
        queries: [
          {
            expr: `sum by (longtail_quota_kind) (increase(longtail_quota_refusals_total{${P}}[$__rate_interval]))`,
            legend: 'refused {{longtail_quota_kind}}',
          },
          {
            expr: `sum by (longtail_quota_kind) (increase(longtail_quota_coolings_total{${P}}[$__rate_interval]))`,
            legend: 'cooling {{longtail_quota_kind}}',
          },
          {
            expr: `sum by (longtail_quota_scope) (increase(longtail_quota_approaches_total{${P}}[$__rate_interval]))`,
            legend: `${THRESHOLDS.quotaShare * 100} % of {{longtail_quota_scope}}`,
          },
        ],
      },
      {
        title: 'Retries',
        type: 'timeseries',
        unit: 'short',
        width: 8,
        queries: [
          {
            expr: `sum by (longtail_retry_kind) (increase(longtail_retries_total{${P}}[$__rate_interval]))`,
            legend: '{{longtail_retry_kind}}',
          },
        ],
      },
      {
        title: 'Concurrency and workers',
        type: 'timeseries',
        unit: 'short',
        width: 8,
        queries: [
          { expr: `longtail_concurrency{${P}}`, legend: 'level {{longtail_property}}' },
          {
            expr: `sum by (longtail_worker_state) (longtail_workers{${P}})`,
            legend: '{{longtail_worker_state}}',
          },
        ],
      },
      {
        title: 'Calls a second, by outcome',
        type: 'timeseries',
        unit: 'short',
        width: 8,
        queries: [
          {
            expr: `sum by (longtail_call_outcome) (${rate('longtail_calls_total')})`,
            legend: '{{longtail_call_outcome}}',
          },
          { expr: `sum(${rate('longtail_requests_total')})`, legend: 'requests' },
        ],
      },
      {
        title: 'How long calls take',
        type: 'timeseries',
        unit: 's',
        width: 8,
        queries: [0.5, 0.95].map((quantile) => ({
          expr: `histogram_quantile(${quantile}, sum by (le) (${rate('longtail_call_duration_seconds_bucket')}))`,
          legend: `${quantile * 100} %`,
        })),
      },
      {
        title: 'Pages',
        type: 'timeseries',
        unit: 'short',
        width: 8,
        queries: [
          { expr: `longtail_pages_waiting{${P}}`, legend: 'waiting {{longtail_property}}' },
          { expr: `longtail_pages_in_flight{${P}}`, legend: 'in flight {{longtail_property}}' },
        ],
      },
      {
        title: 'Rows of a page',
        type: 'timeseries',
        unit: 'short',
        width: 8,
        queries: [
          {
            expr: `histogram_quantile(0.95, sum by (le) (${rate('longtail_page_rows_bucket')}))`,
            legend: '95 %',
          },
        ],
      },
      {
        title: 'Slices that ended',
        type: 'timeseries',
        unit: 'short',
        width: 8,
        queries: [
          {
            expr: `sum by (longtail_slice_outcome) (${rate('longtail_slices_total')})`,
            legend: '{{longtail_slice_outcome}} a second',
          },
        ],
      },
      {
        title: 'Memory',
        type: 'timeseries',
        unit: 'bytes',
        width: 8,
        red: THRESHOLDS.memoryBytes,
        queries: [{ expr: `max by (instance) (longtail_memory_bytes{${P}})`, legend: '{{instance}}' }],
      },
      {
        title: 'Halts',
        description: 'In a backend: a process that ends with its run is rarely scraped after it.',
        type: 'timeseries',
        unit: 's',
        width: 8,
        queries: [
          {
            expr: `sum by (longtail_property) (longtail_halt_duration_seconds_sum{${P}}) / sum by (longtail_property) (longtail_halt_duration_seconds_count{${P}})`,
            legend: 'mean duration {{longtail_property}}',
          },
          {
            expr: `sum(increase(longtail_halt_overruns_total{${P}}[$__range]))`,
            legend: 'later than the deadline',
          },
        ],
      },
      {
        title: 'Runs of this process',
        description: 'In a backend.',
        type: 'timeseries',
        unit: 's',
        width: 8,
        queries: [
          {
            expr: `time() - longtail_last_success_timestamp_seconds{${P}}`,
            legend: 'since the last success {{longtail_property}}',
          },
          {
            expr: `sum by (longtail_run_outcome) (longtail_run_duration_seconds_sum{${P}}) / sum by (longtail_run_outcome) (longtail_run_duration_seconds_count{${P}})`,
            legend: 'mean duration, {{longtail_run_outcome}}',
          },
          {
            expr: `sum by (longtail_run_outcome) (longtail_runs_total{${P}})`,
            legend: '{{longtail_run_outcome}}',
          },
        ],
      },
    ],
  },
];
