/** What the tables say, as Prometheus's metrics. All names begin with `longtail_database_`. */
import { daysBetween } from '../domain/day.ts';
import type { Day } from '../domain/slice.ts';
import { VERSION } from '../domain/version.ts';
import {
  type DatabaseFigures,
  type DatasetFigures,
  type PropertyRuns,
  RUN_STATUSES,
} from '../postgres/queries/property-figures.ts';
import type { Family, Sample } from './prometheus-text.ts';

const ENDED = RUN_STATUSES.filter((status) => status !== 'running');
const STATES = ['complete', 'open', 'failed', 'missing'] as const;

/**
 * @param figures undefined: the database did not answer.
 * @param today in Pacific time.
 */
export function databaseFamilies(figures: DatabaseFigures | undefined, today: Day): readonly Family[] {
  const { runs = [], datasets = [] } = figures ?? {};
  const ofRuns = (sample: (run: PropertyRuns) => readonly Sample[]): readonly Sample[] =>
    runs.flatMap(sample);
  const ofDatasets = (value: (dataset: DatasetFigures) => number): readonly Sample[] =>
    datasets.map((dataset) => ({ labels: labelsOf(dataset), value: value(dataset) }));
  return [
    {
      name: 'longtail_build_info',
      type: 'gauge',
      help: 'The version of longtail.',
      samples: [{ labels: { version: VERSION }, value: 1 }],
    },
    {
      name: 'longtail_database_up',
      type: 'gauge',
      help: 'Whether the database answered: 1 or 0.',
      samples: [{ value: figures === undefined ? 0 : 1 }],
    },
    {
      name: 'longtail_database_last_success_timestamp_seconds',
      type: 'gauge',
      help: 'When a run last ended as complete, in seconds since 1970; 0 if none ever did.',
      samples: ofRuns(({ siteUrl, lastSuccess }) => [
        { labels: { longtail_property: siteUrl }, value: lastSuccess ?? 0 },
      ]),
    },
    {
      name: 'longtail_database_runs_total',
      type: 'counter',
      help: 'Runs that ended, by outcome.',
      samples: ofRuns(({ siteUrl, ended }) =>
        ENDED.map((status) => ({
          labels: { longtail_property: siteUrl, longtail_run_outcome: status },
          value: ended[status] ?? 0,
        })),
      ),
    },
    {
      name: 'longtail_database_last_run_outcome',
      type: 'gauge',
      help: 'Whether the newest run ended so: 1 or 0. All are 0 while it is under way.',
      samples: ofRuns((run) =>
        ENDED.map((status) => ({
          labels: { longtail_property: run.siteUrl, longtail_run_outcome: status },
          value: outcomeOf(run) === status ? 1 : 0,
        })),
      ),
    },
    {
      name: 'longtail_database_last_run_duration_seconds',
      type: 'gauge',
      help: 'How long the newest run took that has ended.',
      samples: ofRuns(({ siteUrl, lastDurationSeconds }) =>
        lastDurationSeconds === null
          ? []
          : [{ labels: { longtail_property: siteUrl }, value: lastDurationSeconds }],
      ),
    },
    {
      name: 'longtail_database_under_way',
      type: 'gauge',
      help: 'Whether a run holds the property now: 1 or 0.',
      samples: ofRuns(({ siteUrl, isUnderWay }) => [
        { labels: { longtail_property: siteUrl }, value: isUnderWay ? 1 : 0 },
      ]),
    },
    {
      name: 'longtail_database_slices',
      type: 'gauge',
      help: 'Days of a dataset by state, as in longtail status.',
      samples: datasets.flatMap((dataset) =>
        STATES.map((state) => ({
          labels: { ...labelsOf(dataset), longtail_slice_state: state },
          value: dataset[state],
        })),
      ),
    },
    {
      name: 'longtail_database_rows',
      type: 'gauge',
      help: 'Rows of complete days.',
      samples: ofDatasets(({ rows }) => rows),
    },
    {
      name: 'longtail_database_capped_slices',
      type: 'gauge',
      help: 'Complete days with as many rows as Google returns at most.',
      samples: ofDatasets(({ capped }) => capped),
    },
    {
      name: 'longtail_database_shrunk_slices',
      type: 'gauge',
      help: 'Days that failed because they came back with much less than before. Their old rows are kept.',
      samples: ofDatasets(({ shrunk }) => shrunk),
    },
    {
      name: 'longtail_database_days_behind',
      type: 'gauge',
      help: 'Days from the newest complete day to today in Pacific time. Google publishes after two or three.',
      samples: datasets.flatMap((dataset) =>
        dataset.last === null
          ? []
          : [{ labels: labelsOf(dataset), value: Math.max(0, daysBetween(dataset.last, today)) }],
      ),
    },
  ];
}

/** Nobody holds the property of a run that says it is running: its process is gone. */
function outcomeOf({ lastStatus, isUnderWay }: PropertyRuns): PropertyRuns['lastStatus'] {
  return lastStatus === 'running' && !isUnderWay ? 'crashed' : lastStatus;
}

function labelsOf({ siteUrl, searchType, dataset }: DatasetFigures): Record<string, string> {
  return {
    longtail_property: siteUrl,
    longtail_search_type: searchType,
    longtail_dataset: dataset,
  };
}
