/** The alerts, each with what to do about it. `scripts/dashboards.ts` writes the rules and the runbook from them. */
import { THRESHOLDS as T } from '../../src/domain/thresholds.ts';

export interface Alert {
  readonly name: string;
  /** PromQL. Fires for each series of the result. */
  readonly expr: string;
  /** How long it must hold, as Prometheus writes durations. */
  readonly for?: string;
  /** `page`: wake somebody. `ticket`: look at it on the next working day. `info`: it is good to know. */
  readonly severity: 'page' | 'ticket' | 'info';
  /** One line, with Prometheus's templates. */
  readonly summary: string;
  /** A paragraph of Markdown each. */
  readonly meaning: string;
  readonly action: string;
}

const recent = `${T.recentMinutes}m`;
const property = '{{ $labels.longtail_property }}';
const percent = (share: number): string => `${Math.round(share * 100)} %`;
const mebibytes = T.memoryBytes / 2 ** 20;

export const ALERTS: readonly Alert[] = [
  {
    name: 'LongtailNoSuccess',
    expr:
      `(time() - longtail_database_last_success_timestamp_seconds > ${T.successHours} * 3600) ` +
      'unless on (instance, longtail_property) ' +
      '((longtail_database_last_success_timestamp_seconds == 0) and on (instance, longtail_property) (longtail_database_under_way == 1))',
    for: '5m',
    severity: 'page',
    summary: `${property}: no complete run for more than ${T.successHours} hours`,
    meaning: `No run of the property has ended as \`complete\` for more than ${T.successHours} hours. Nothing is lost yet: Google keeps 16 months, and the next run fetches what is missing. A first run that is still under way does not count.`,
    action:
      'Look whether the schedule runs at all (`systemctl list-timers`, the log of cron). If it does, the exit code and the last line of a run say why it did not complete; [errors.md](errors.md) has every code with its next step. `longtail status` shows what is missing.',
  },
  {
    name: 'LongtailRunFailed',
    expr: 'longtail_database_last_run_outcome{longtail_run_outcome=~"failed|crashed"} == 1',
    severity: 'ticket',
    summary: `${property}: the last run {{ $labels.longtail_run_outcome }}`,
    meaning:
      'The newest run of the property failed, or its process is gone without an end. What it had written stays and is right; the next run goes on from there.',
    action:
      'Failed: the run’s message names the cause and the next step; `select halt_reason from longtail.run order by id desc limit 1` has it, too. Crashed: look for the kernel’s out-of-memory killer and for a restart of the machine. Then run again.',
  },
  {
    name: 'LongtailFailedDays',
    expr: 'longtail_database_slices{longtail_slice_state="failed"} > 0',
    for: `${T.successHours}h`,
    severity: 'ticket',
    summary: `${property}: {{ $value }} days of {{ $labels.longtail_dataset }} stay failed`,
    meaning: `Days of the dataset have failed for more than ${T.successHours} hours, so at least one more run could not fetch them either. All other days are complete.`,
    action:
      'Run with `--log-level info`: each failed day is told with Google’s reason. A page that Google cannot serve often comes back after some days. If the reason is `shrunk`, see LongtailShrunk.',
  },
  {
    name: 'LongtailShrunk',
    expr: 'longtail_database_shrunk_slices > 0',
    severity: 'ticket',
    summary: `${property}: {{ $value }} days of {{ $labels.longtail_dataset }} came back with much less than before`,
    meaning:
      'A day was fetched again, and Google returned less than half of the rows that the table has. The old rows are kept, and the day counts as failed, because Google deletes rows without notice.',
    action:
      'Compare the day in Search Console’s own interface. If the smaller answer is the right one, run `longtail sync … --refresh --accept-shrunk` over that range. Otherwise do nothing: the rows are safe.',
  },
  {
    name: 'LongtailCapped',
    expr: `delta(longtail_database_capped_slices[${T.successHours}h]) > 0`,
    severity: 'info',
    summary: `${property}: new days of {{ $labels.longtail_dataset }} reach the most rows that Google returns`,
    meaning:
      'Days were added that have as many rows as Google returns for a day at most. The rest of their rows cannot be seen in this dataset. The rows that are there are right.',
    action:
      'Add datasets that divide the traffic further or less finely (`page`, `country`, `device`), and take sums from `date` or `page`, never from a capped dataset. Domain properties can be complemented by URL-prefix properties of their parts.',
  },
  {
    name: 'LongtailRefusals',
    expr: `increase(longtail_quota_refusals_total[${recent}]) > 0`,
    severity: 'ticket',
    summary: `${property}: Google refused requests ({{ $labels.longtail_quota_kind }})`,
    meaning:
      'Google refused requests because of a quota. Longtail stays below the documented limits, so something else spends the same quota, or the project’s real limit is lower. The run has lowered its limit and goes on.',
    action:
      'Look in the Google Cloud console for the quota of the Search Console API and who uses it. If the limit is lower than 1,200 a minute, pass it with `--qpm`. If another program uses the account, give one of them an account of its own. Lower the concurrency if it was raised lately.',
  },
  {
    name: 'LongtailCooling',
    expr: `increase(longtail_quota_coolings_total[${recent}]) > 0`,
    severity: 'info',
    summary: `${property}: requests wait after a refusal ({{ $labels.longtail_quota_kind }})`,
    meaning:
      'After a refusal no request goes out for a minute (`qps`) or a quarter of an hour (`load`). With `daily` the run ends, to be continued the next day. Other properties go on.',
    action:
      'Nothing, if it is rare. If it comes with every run, take fewer or smaller datasets per run for `load`, and see LongtailRefusals for the rest.',
  },
  {
    name: 'LongtailApproachingForLong',
    expr: `longtail_quota_used / longtail_quota_limit > ${T.quotaShare}`,
    for: `${T.approachingMinutes}m`,
    severity: 'info',
    summary: `${property}: more than ${percent(T.quotaShare)} of the quota ({{ $labels.longtail_quota_scope }}) is used for ${T.approachingMinutes} minutes`,
    meaning: `The quota, not the concurrency, decides how fast the run is. At ${percent(T.quotaShare)} the concurrency controller stops to raise the level. A backfill of many properties does this for hours, and may.`,
    action:
      'Do not raise the concurrency: it would bring nothing. If it lasts longer than the backfill, spread the properties over several accounts or over the day.',
  },
  {
    name: 'LongtailCallsFail',
    expr:
      `sum by (instance, longtail_property) (rate(longtail_calls_total{longtail_call_outcome=~"failed|unauthorized|fatal"}[5m])) / ` +
      `sum by (instance, longtail_property) (rate(longtail_calls_total[5m])) > ${T.failedCallShare}`,
    for: `${T.failedCallMinutes}m`,
    severity: 'ticket',
    summary: `${property}: {{ $value | humanizePercentage }} of the calls fail`,
    meaning: `More than ${percent(T.failedCallShare)} of the calls have failed for ${T.failedCallMinutes} minutes. They are repeated, so no rows are missing, but the run is slow and spends quota in vain.`,
    action:
      'Run with `--log-level warn`: `retry.call` has the reason of each. Look at the way to Google (proxy, DNS, a firewall that cuts long answers), and go back to `--max-concurrency 3`.',
  },
  {
    name: 'LongtailGoogleAway',
    expr: 'longtail_run_state{longtail_run_state="waitingForGoogle"} == 1',
    for: `${T.awayMinutes}m`,
    severity: 'info',
    summary: `${property}: Search Console does not answer`,
    meaning:
      'Several calls in a row brought nothing. One probe goes out from time to time; after a quarter of an hour the run halts, and the next one continues.',
    action:
      'Look at Google’s status page and at the way to Google. Nothing needs to be done when it comes back.',
  },
  {
    name: 'LongtailDatabaseAway',
    expr: '(longtail_database_up == 0) or (longtail_run_state{longtail_run_state="waitingForDatabase"} == 1)',
    for: `${T.awayMinutes}m`,
    severity: 'page',
    summary: 'The database does not answer, or takes no writes',
    meaning:
      'The scrape endpoint cannot read the database, or a run waits for it. A run keeps the pages that it has read and writes them when the database is back; it halts after some minutes.',
    action:
      'Look at the database’s log: full disk, read-only standby, locks on the schema `longtail`, no connection left. The run’s log (`retry.database`) names the setting or the lock. Afterwards run again; nothing needs to be repaired.',
  },
  {
    name: 'LongtailHaltLate',
    expr: `increase(longtail_halt_overruns_total[${recent}]) > 0`,
    severity: 'ticket',
    summary: `${property}: a halt took longer than its deadline`,
    meaning:
      'A run was asked to halt and took longer than `haltDeadlineMs`. Usually the machine or the database was overloaded: a commit under way did not come to its end.',
    action:
      'Look at the load of machine and database at that time. If a host ends the process after a fixed time, give it more than `haltDeadlineMs`. The table is right even if the process was killed.',
  },
  {
    name: 'LongtailMemory',
    expr: `longtail_memory_bytes > ${T.memoryBytes}`,
    for: `${T.memoryMinutes}m`,
    severity: 'ticket',
    summary: `${property}: the process uses {{ $value | humanize1024 }}B of memory`,
    meaning: `The process has used more than ${mebibytes} MiB for ${T.memoryMinutes} minutes. What waits for the database is bounded, so a run alone stays below; in a backend the rest of it counts, too.`,
    action:
      'Lower `--max-concurrency` or `rowsPerPage`. If it grows from run to run in a backend, take a heap snapshot: listeners that are never removed are the usual cause.',
  },
];
