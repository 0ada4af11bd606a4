/** Which actor sends which message to which other, as a flowchart. The compiler checks the lists against the types of the messages. */
import type {
  CallEvent,
  CallOrder,
  ControlEvent,
  GrantEvent,
  LimiterEvent,
  PlanOrder,
  PlanReport,
  WorkerOrder,
  WorkerReport,
} from '../../src/machines/index.ts';

const control: Record<ControlEvent['type'], true> = {
  halt: true,
  fail: true,
  pause: true,
  resume: true,
  'concurrency.change': true,
};
const planOrders: Record<PlanOrder['type'], true> = { 'plan.requested': true };
const planReports: Record<PlanReport['type'], true> = { 'plan.supplied': true, 'plan.failed': true };
const orders: Record<WorkerOrder['type'], true> = {
  'batch.assign': true,
  'worker.pause': true,
  'worker.retry': true,
  'worker.halt': true,
};
const reports: Record<WorkerReport['type'], true> = {
  'page.committed': true,
  'page.failed': true,
  'pages.returned': true,
  'batch.stalled': true,
  'batch.ended': true,
  'worker.ready': true,
  'worker.halted': true,
};
const requests: Record<LimiterEvent['type'], true> = {
  'tokens.request': true,
  'tokens.cancel': true,
  'lease.settled': true,
  'lease.returned': true,
  'quota.refused': true,
};
const grants: Record<GrantEvent['type'], true> = { 'tokens.granted': true, 'tokens.denied': true };
const callOrders: Record<CallOrder['type'], true> = { 'call.abort': true, 'call.retry': true };
const callEvents: Record<CallEvent['type'], true> = {
  'call.settled': true,
  'call.unsent': true,
  'call.page': true,
  'call.stalled': true,
  'call.ended': true,
};

/** Machines are hexagons, actors are rectangles. No node may be named `call`, which is a keyword of Mermaid. */
export function messagesFlowchart(): string {
  return `%%{init: {"flowchart": {"nodeSpacing": 140, "rankSpacing": 60}}}%%
flowchart TB
  caller([host]) -- "${listed(control)}" --> coordinator
  coordinator{{coordinator}} -- "${listed(planOrders)}" --> plan[loadPlan]
  plan -- "${listed(planReports)}" --> coordinator
  coordinator -- "${listed(orders)}" --> worker{{batch worker × N}}
  worker -- "${listed(reports)}" --> coordinator
  worker -- "${listed(requests)}" --> limiter{{rate limiter}}
  limiter -- "${listed(grants)}" --> worker
  worker -- "${listed(callOrders)}" --> fetching[fetchBatch]
  fetching -- "${listed(callEvents)}" --> worker
  fetching <-- "multipart over HTTP" --> google[(Search Console)]
  fetching -- "COPY and ledger, in one transaction" --> database[(PostgreSQL)]`;
}

const listed = (events: Readonly<Record<string, true>>): string => Object.keys(events).join('<br/>');
