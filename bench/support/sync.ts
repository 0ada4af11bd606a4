import { existsSync } from 'node:fs';
import { startChild } from './child.ts';
import type { BenchContext } from './context.ts';
import type { SyncReport, SyncTask } from './sync-process.ts';

const LIBRARY = new URL('../../dist/index.js', import.meta.url);

export type SyncFigures = Extract<SyncReport, { readonly kind: 'ended' }>;

/** Runs one synchronisation to its end. Writes its profile if profiles are requested. */
export async function trySync(context: BenchContext, options: SyncTask['options']): Promise<SyncReport> {
  if (!existsSync(LIBRARY)) throw new Error('There is no build: npm run build.');
  const task: SyncTask = {
    library: LIBRARY.href,
    options: {
      credentials: { accessToken: 'a-token' },
      requestsPerMinute: 40_000,
      nudgeHeap: true,
      ...options,
    },
  };
  const nodeOptions =
    context.profiles === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${context.profiles}`];
  await using child = await startChild(new URL('./sync-process.ts', import.meta.url), task, {
    plain: true,
    nodeOptions,
  });
  // The process sends nothing else.
  return (await child.next()) as SyncReport;
}

/** Like {@link trySync}, but throws if the run does not end as complete. */
export async function runSync(context: BenchContext, options: SyncTask['options']): Promise<SyncFigures> {
  const report = await trySync(context, options);
  if (report.kind === 'failed') throw new Error(`${report.code}: ${report.message}`);
  if (report.outcome.status !== 'complete')
    throw new Error(
      `a run of the bench ended as ${report.outcome.status}: ${JSON.stringify(report.outcome)}`,
    );
  return report;
}
