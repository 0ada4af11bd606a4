/**
 * Faults that somebody could make in the machines, and in the rules that they follow: each is one edit of the source, and
 * each must be noticed. Files are named from `src/machines`. The text that an edit replaces must occur exactly once in its file; `check-mutants.ts` says when it no longer does.
 */
export interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** Whose states are walked to notice it. */
  readonly model: 'system' | 'leases';
}

type Edit = readonly [name: string, from: string, to: string];

const of = (file: string, edits: readonly Edit[], model: Mutant['model'] = 'system'): readonly Mutant[] =>
  edits.map(([name, from, to]) => ({ name, file, from, to, model }));

const WORKER = of('batch-worker/batch-worker.ts', [
  [
    'the surplus of a partial grant is not given back',
    "{ guard: 'isMyGrant', target: 'calling', actions: 'returnSurplus' }",
    "{ guard: 'isMyGrant', target: 'calling' }",
  ],
  ['a grant that nobody waits for is kept', "'tokens.granted': { actions: 'returnGrant' },", ''],
  [
    'a grant for an earlier request is taken',
    "event.type === 'tokens.granted' && event.requestId === context.assignmentId && event.tokens > 0",
    "event.type === 'tokens.granted' && event.tokens > 0",
  ],
  [
    'a pause does not cancel the request for tokens',
    "actions: ['cancelTokens', 'returnPages', 'reportCancelled'] },\n        'worker.halt'",
    "actions: ['returnPages', 'reportCancelled'] },\n        'worker.halt'",
  ],
  [
    'a pause is not reported',
    "actions: ['cancelTokens', 'returnPages', 'reportCancelled'] },\n        'worker.halt'",
    "actions: ['cancelTokens', 'returnPages'] },\n        'worker.halt'",
  ],
  [
    'a halt does not cancel the request for tokens',
    "'worker.halt': { target: 'halted', actions: ['cancelTokens', 'returnPages', 'reportCancelled'] }",
    "'worker.halt': { target: 'halted', actions: ['returnPages', 'reportCancelled'] }",
  ],
  [
    'a halt is ignored while waiting for tokens',
    "'worker.halt': { target: 'halted', actions: ['cancelTokens', 'returnPages', 'reportCancelled'] }",
    "'worker.halt': {}",
  ],
  [
    'a halt is ignored while backing off',
    'backingOff: {\n',
    "backingOff: {\n      on: { 'worker.halt': {} },\n",
  ],
  ['a halt is ignored while idle', 'idle: {\n      on: {', "idle: {\n      on: { 'worker.halt': {},"],
  [
    'a halted call is left before it has ended',
    "'worker.halt': { target: '.aborting', actions: 'abortCall' }",
    "'worker.halt': { target: '#batchWorker.halted', actions: 'abortCall' }",
  ],
  [
    'a halted call is not aborted',
    "'worker.halt': { target: '.aborting', actions: 'abortCall' }",
    "'worker.halt': { target: '.aborting' }",
  ],
  [
    'an aborted call leads back to work',
    "'call.ended': { target: '#batchWorker.halted', actions: ['returnPages', 'reportEnd'] }",
    "'call.ended': { target: '#batchWorker.idle', actions: ['returnPages', 'reportEnd'] }",
  ],
  [
    'the end of an aborted call is ignored',
    "'call.ended': { target: '#batchWorker.halted', actions: ['returnPages', 'reportEnd'] },\n",
    '',
  ],
  ['a lease is not settled', "'call.settled': { actions: 'settleTokens' },\n", ''],
  ['tokens that were not sent are not given back', "'call.unsent': { actions: 'returnTokens' },\n", ''],
  ['what came of a page is not passed on', "'call.page': { actions: 'reportPage' },\n", ''],
  ['a lease is settled without its grace', 'graceMs: event.graceMs,', 'graceMs: 0,'],
  ['one token too many is asked for', 'tokens: context.pages.length,', 'tokens: context.pages.length + 1,'],
  ['a failed call does not back off', "target: 'backingOff',", "target: 'idle',"],
  [
    'a failed call is not reported',
    "actions: ['noteFailedCall', 'returnPages', 'reportEnd'],",
    "actions: ['noteFailedCall', 'returnPages'],",
  ],
  [
    'a failed call counts for nothing',
    "actions: ['noteFailedCall', 'returnPages', 'reportEnd'],",
    "actions: ['returnPages', 'reportEnd'],",
  ],
  [
    'an answered call is not reported',
    "actions: ['noteAnswer', 'returnPages', 'reportEnd'] }",
    "actions: ['noteAnswer', 'returnPages'] }",
  ],
  ['the backoff never ends', "after: { backoff: { target: 'idle', actions: 'reportReady' } },", ''],
  [
    'the end of the backoff is not reported',
    "backoff: { target: 'idle', actions: 'reportReady' }",
    "backoff: { target: 'idle' }",
  ],
  [
    'a retry goes out without a token',
    "after: { backoff: { target: 'idle', actions: 'reportReady' } },",
    "after: { backoff: { target: 'calling' } },",
  ],
  ['that it has halted is not reported', "entry: 'reportHalted',", ''],
  [
    'a refusal is not passed on to the limiter',
    "case 'refused':\n          enqueue.sendTo(limiter,",
    "case 'refused':\n          if (scopes.length > 9) enqueue.sendTo(limiter,",
  ],
]);

const COORDINATOR = of('coordinator/coordinator.ts', [
  ['failed pages are not heard of', "'page.failed': { actions: 'noteFailed' },", ''],
  [
    'pages that come back are not taken',
    "'pages.returned': { actions: 'takeBack' },",
    "'pages.returned': {},",
  ],
  ['a worker that is ready again gets no work', "'worker.ready': { actions: 'noteReady' },", ''],
  ['a worker that has halted is not noted', "'worker.halted': { actions: 'noteHalted' },", ''],
  ['a retry that is due is not made', "'retry.due': { actions: 'releaseRetries' },", ''],
  ['a halt is ignored', "halt: { target: '.halting', actions: 'endHalted' },", ''],
  ['a broken environment is ignored', "fail: { target: '.halting', actions: 'endFailed' },", ''],
  [
    'a pause does not wait for the calls under way',
    "always: { guard: 'nobodyMoves', target: 'paused' },",
    "always: { target: 'paused' },",
  ],
  ['a pause stops nobody', "pausing: {\n      entry: 'pauseWorkers',", 'pausing: {'],
  ['a halt stops nobody', "entry: 'haltWorkers',", ''],
  ['the deadline of a halt is missing', 'haltDeadline: [', 'probe: ['],
  [
    'a batch that ends while halting keeps its pages',
    "'batch.ended': { actions: 'closeForGood' },",
    "'batch.ended': {},",
  ],
  [
    'a worker that crashes while halting is not reaped',
    "{ guard: 'workerCrashed', actions: 'reap' },\n          { actions: ['takeOver', 'retire'] },",
    "{ actions: ['takeOver', 'retire'] },",
  ],
  [
    'the run ends although there is more to do',
    "{ guard: 'isFinished', target: '#coordinator.halting' },",
    "{ target: '#coordinator.halting' },",
  ],
  ['the end of the work is not noticed', "{ guard: 'isFinished', target: '#coordinator.halting' },", ''],
  [
    'a denial cuts off the calls under way',
    "{ guard: 'isDenied', target: '.drainingForQuota',",
    "{ guard: 'isDenied', target: '.halting',",
  ],
  [
    'a run without a quota waits for nobody',
    "always: { guard: 'nobodyMoves', target: 'halting' },",
    "always: { target: 'halting' },",
  ],
  ['a run without a quota never ends', "always: { guard: 'nobodyMoves', target: 'halting' },", ''],
  ['nobody is given work', "{ guard: 'canDispatch', actions: 'dispatch' },", ''],
  [
    'the database comes back unnoticed',
    "target: '#coordinator.running.working', actions: 'noteDatabaseBack'",
    "target: 'sleeping', actions: 'noteDatabaseBack'",
  ],
  ['a probe that fails ends the run at once', "{ guard: 'noProbeIsLeft', target", '{ target'],
  [
    'Google comes back unnoticed',
    "{ guard: 'googleIsBack', target: 'working', actions: ['closeAssignment', 'noteGoogleBack'] },",
    '',
  ],
  ['nobody is woken to ask Google', "sleeping: { after: { googleProbe: 'choosing' } },", 'sleeping: {},'],
  [
    'nobody is chosen to ask Google',
    "choosing: { always: { guard: 'canProbeGoogle', target: 'probing', actions: 'probeGoogle' } },",
    'choosing: {},',
  ],
  [
    'a probe that is lost is waited for',
    "probing: { always: { guard: 'googleProbeIsLost', target: 'sleeping' } },",
    'probing: {},',
  ],
  [
    'an outage of Google’s is not noticed',
    "target: 'waitingForGoogle',\n                actions: ['closeAssignment', 'beginGoogleProbing'],",
    "actions: ['closeAssignment', 'beginGoogleProbing'],",
  ],
]);

const ACTIONS = of('coordinator/setup.ts', [
  [
    'a page that failed is not tried again',
    ': [...slot.retry, { ...page, attempts: attempt, callFailures: 0 }];',
    ': slot.retry;',
  ],
  ['a page that failed for good is tried again', 'const retry = event.final', 'const retry = !event.final'],
  [
    'a failed slice is not counted',
    'ending: event.final ? worse(context.ending) : context.ending,',
    'ending: context.ending,',
  ],
  [
    'a retry has no timer',
    "enqueue.raise({ type: 'retry.due', groupId }, { id: groupId, delay: delayMs });",
    '',
  ],
  [
    'a retry stays in its group after it was made',
    'delayed: queues.delayed.filter(({ groupId }) => groupId !== event.groupId),',
    'delayed: queues.delayed,',
  ],
  [
    'a worker that backs off is thought idle',
    "status: outcome.kind === 'failed' ? 'backingOff' : 'idle',",
    "status: 'idle',",
  ],
  [
    'what the plan gave before is forgotten',
    'ahead: [...context.queues.ahead, ...event.pages]',
    'ahead: [...event.pages]',
  ],
  [
    'a plan that could not be read is given up',
    "enqueue.assign({ plan: 'whenLow' });",
    "enqueue.assign({ plan: 'none' });",
  ],
  [
    'the plan is asked again and again',
    "enqueue.assign({ plan: 'asked' });",
    'enqueue.assign({ plan: context.plan });',
  ],
  [
    'a committed page stays with its worker',
    'workers: withSlot(context.workers, { ...heardOf(slot), pages: without(slot.pages, event) }),\n        queues: afterCommit',
    'workers: context.workers,\n        queues: afterCommit',
  ],
  ['pages given out stay in line', 'enqueue.assign({ queues, workers });', 'enqueue.assign({ workers });'],
  [
    'a halt forgets those who back off',
    "if (status !== 'reaping' && status !== 'halted') enqueue.sendTo(workerId, { type: 'worker.halt' });",
    "if (status === 'busy' || status === 'idle') enqueue.sendTo(workerId, { type: 'worker.halt' });",
  ],
  [
    'a halt leaves the timers of retries',
    'for (const { groupId } of context.queues.delayed) enqueue.cancel(groupId);',
    '',
  ],
  [
    'retries of a crashed worker are lost',
    'queues: putBack(queues, [...pages, ...slot.retry]),',
    'queues: putBack(queues, pages),',
  ],
  [
    'pages of a crashed worker are lost',
    'queues: putBack(queues, [...pages, ...slot.retry]),',
    'queues: putBack(queues, slot.retry),',
  ],
  [
    'tokens of a crashed worker count forever',
    'for (const order of abandonedTokens(context, slot)) enqueue.sendTo(context.input.limiter, order);\n      enqueue.stopChild(reaperId',
    'enqueue.stopChild(reaperId',
  ],
  [
    'a crashed worker goes on waiting for tokens',
    "enqueue.sendTo(context.input.limiter, { type: 'tokens.cancel', requestId: assignmentId });",
    '',
  ],
  [
    'crashes are mended without end',
    'enqueue.assign({ restarts: context.restarts + 1, workers',
    'enqueue.assign({ restarts: context.restarts, workers',
  ],
  [
    'a lowered or raised concurrency is ignored',
    'enqueue.assign({ maxConcurrency, workers: [...context.workers, ...added] });',
    'enqueue.assign({ workers: [...context.workers, ...added] });',
  ],
  [
    'the probe of Google is thought to be lost',
    'enqueue.assign({ prober: assignmentId, workers: withSlot(context.workers, busy) });',
    'enqueue.assign({ workers: withSlot(context.workers, busy) });',
  ],
  [
    'probes of Google are made without end',
    'const googleProbes = context.googleProbes + (failed ? 1 : 0);',
    'const googleProbes = context.googleProbes;',
  ],
  [
    'pages go on failing when Google is back',
    'enqueue.assign({ callFailures: 0 });\n      enqueue.emit',
    'enqueue.emit',
  ],
  [
    'what a page brings does not count',
    'callFailures: 0,\n        tokenRefusals: 0,\n        sound,',
    'tokenRefusals: 0,\n        sound,',
  ],
  [
    'calls that fail prove that Google is well',
    "sound: outcome.kind === 'failed' ? 0 : context.sound,",
    'sound: context.sound,',
  ],
  [
    'a denial does not end the run',
    "event.outcome.kind === 'denied' &&",
    "event.outcome.kind === 'databaseAway' &&",
  ],
  [
    'a fatal plan is asked again',
    "event.outcome.kind === 'fatal',\n    noProbe",
    "event.outcome.kind === 'databaseAway',\n    noProbe",
  ],
  [
    'a stalled call is not noticed: pages are given out while others wait',
    'enqueue.assign({\n        away: event.away,',
    'if (slot.serial >= 0) return;\n      enqueue.assign({\n        away: event.away,',
  ],
  [
    'what waits for the database is never tried again',
    "if (status === 'stalled') enqueue.sendTo(workerId, { type: 'worker.retry' });",
    '',
  ],
  [
    'a call that was told to try again is forgotten',
    "slot.status === 'stalled' ? { ...slot, status: 'retrying' as const } : slot",
    "slot.status === 'stalled' ? { ...slot, status: 'idle' as const } : slot",
  ],
  [
    'that the database has taken something is not noticed',
    "slot.status === 'retrying' ? { ...slot, status: 'busy' } : slot",
    'slot',
  ],
  [
    'a database that answers and takes nothing is asked without end',
    'enqueue.assign({ probes: context.probes + 1 });',
    '',
  ],
  [
    'one worker that has halted is enough',
    "context.workers.every(({ status }) => status === 'halted')",
    "context.workers.some(({ status }) => status === 'halted')",
  ],
]);

const KNOWLEDGE = of('coordinator/context.ts', [
  [
    'the page after a committed one is forgotten',
    'return { ...queues, begun: [...queues.begun, page] };',
    'return queues;',
  ],
  [
    'a slice to be fetched again is forgotten',
    "if (next.kind !== 'page' && next.kind !== 'again') return queues;",
    "if (next.kind !== 'page') return queues;",
  ],
  [
    'retries that wait are not counted as work',
    'countWaiting(queues) === 0 && queues.delayed.length === 0 && nobodyIsBusy(workers);',
    'countWaiting(queues) === 0 && nobodyIsBusy(workers);',
  ],
  [
    'workers that have work are not counted',
    'countWaiting(queues) === 0 && queues.delayed.length === 0 && nobodyIsBusy(workers);',
    'countWaiting(queues) === 0 && queues.delayed.length === 0;',
  ],
  [
    'word of an assignment that is no more is believed',
    'slot !== undefined && assignmentIdOf(context, slot) === event.assignmentId ? slot : undefined',
    'slot !== undefined ? slot : undefined',
  ],
  [
    'a worker that is being reaped is thought free',
    "!hasAssignment(slot) && slot.status !== 'reaping'",
    '!hasAssignment(slot)',
  ],
  [
    'a run whose pages wait for the database is thought to be at work, and never paused',
    "status !== 'busy' && status !== 'retrying' && status !== 'reaping'",
    "status !== 'busy' && status !== 'stalled' && status !== 'retrying' && status !== 'reaping'",
  ],
]);

const BLAME = of('coordinator/context.ts', [
  [
    'a page is blamed for its first failure',
    'page.attempts + page.callFailures > 0;',
    'page.attempts + page.callFailures >= 0;',
  ],
  [
    'a page is blamed although Google may be away',
    "isSuspect && sound >= input.soundAnswers ? 'page' : 'call'",
    "isSuspect ? 'page' : 'call'",
  ],
  ['no page is ever blamed', "isSuspect && sound >= input.soundAnswers ? 'page' : 'call'", "'call'"],
]);

const DISPATCH = of('coordinator/dispatch.ts', [
  [
    'a page is given to two workers',
    'return { batch, left: [...passed, ...waiting.slice(at)] };',
    'return { batch, left: [...passed, ...waiting.slice(at - 1)] };',
  ],
  [
    'one worker more than allowed has work',
    'Math.max(0, maxConcurrency - busy)',
    'Math.max(0, maxConcurrency - busy + 1)',
  ],
  [
    'workers that are being reaped are not counted as busy',
    "hasAssignment(slot) || slot.status === 'reaping').length",
    "slot.status === 'busy').length",
  ],
  [
    'fresh pages that come back are lost',
    'ahead: [...pages.filter((page) => !isBegun(page)), ...queues.ahead],',
    'ahead: queues.ahead,',
  ],
  [
    'begun pages that come back are lost',
    'begun: [...pages.filter(isBegun), ...queues.begun],',
    'begun: queues.begun,',
  ],
  [
    'a batch that failed twice is sent whole again',
    'batchSize / 2 ** Math.max(0, page.callFailures - 1)',
    'batchSize / 2 ** 0',
  ],
  [
    'pages that go out of the look-ahead stay in it',
    'ahead: queues.ahead.filter(isLeft)',
    'ahead: queues.ahead',
  ],
  ['begun pages that go out stay in line', 'begun: queues.begun.filter(isLeft)', 'begun: queues.begun'],
  [
    'pages that are passed over are lost',
    'left: [...passed, ...waiting.slice(at)]',
    'left: waiting.slice(at)',
  ],
  [
    'who is free takes no further page while others are busy',
    'Math.ceil(further / (workers + busy))',
    'Math.floor(further / (workers + busy))',
  ],
]);

const LIMITER = of('rate-limiter/rate-limiter.ts', [
  [
    'more is granted than there is',
    'const tokens = Math.min(waiting.tokens, grantable({ ...context, budgets: known }, waiting.scopes));',
    'const tokens = grantable({ ...context, budgets: known }, waiting.scopes) > 0 ? waiting.tokens : 0;',
  ],
  ['what is granted is not counted', 'budgets = spend(known, waiting.scopes, tokens);', 'budgets = known;'],
  [
    'a grant leaves no lease',
    'leases = leases.with(leaseId, { leaseId, scopes, unsettled: tokens });',
    'if (tokens < 0) leases = leases.with(leaseId, { leaseId, scopes, unsettled: tokens });',
  ],
  [
    'the window ends before the grace does',
    '{ delay: windowMs + graceMs + context.input.marginMs }',
    '{ delay: windowMs + context.input.marginMs }',
  ],
  [
    'the window is a millisecond short',
    '{ delay: windowMs + graceMs + context.input.marginMs }',
    '{ delay: windowMs + graceMs - 1 }',
  ],
  [
    'settled tokens are free at once',
    '{ delay: windowMs + graceMs + context.input.marginMs }',
    '{ delay: graceMs }',
  ],
  [
    'tokens that come back are not free',
    'budgets: refund(context.budgets, lease.scopes, tokens),\n        leases',
    'leases',
  ],
  [
    'a cancelled request stays in line',
    'context.queue.filter((waiting) => waiting.requestId !== event.requestId)',
    'context.queue',
  ],
  [
    'tokens expire and still count',
    'expire(context.budgets, event.scopes, event.windowMs, event.tokens, event.accepted)',
    'context.budgets',
  ],
  [
    'leases of an earlier run do not count',
    'budgets = spend(withScopes(budgets, context.input.rules, scopes), scopes, tokens);',
    'budgets = withScopes(budgets, context.input.rules, scopes);',
  ],
  [
    'leases of an earlier run end too early',
    'Math.max(0, windowMs - settledMsAgo) + context.input.marginMs',
    'Math.max(0, windowMs - 2 * settledMsAgo)',
  ],
  [
    'a rest never ends',
    "enqueue.raise({ type: 'scope.rested', scope }, { id: restId(scope), delay: after.restMs });",
    '',
  ],
  ['the end of a rest is not heard of', "'scope.rested': { actions: 'endRest' },", ''],
  ['who has to be denied is not told', "{ guard: 'mustDeny', actions: 'deny' },", ''],
  ['who was denied stays in line', 'enqueue.assign({ queue });\n    }),\n  },', '}),\n  },'],
  [
    'a scope that rests is granted tokens',
    "return scopes.every((scope) => conditionOf(context, scope).state === 'calm')",
    "return scopes.every((scope) => conditionOf(context, scope).state !== 'refusing')",
  ],
  [
    'the refusal of one property is everybody’s',
    'return sites.length > 0 ? sites : event.scopes;',
    'return event.scopes;',
  ],
  ['a lowered limit never comes up', "'limit.rises': { actions: 'raiseLimit' },", ''],
  ['a refusal is forgotten at once', 'conditions = conditions.with(scope, after);', ''],
  [
    'a grant is not sent',
    "enqueue.sendTo(waiting.replyTo, {\n          type: 'tokens.granted',",
    "if (tokens < 2) enqueue.sendTo(waiting.replyTo, {\n          type: 'tokens.granted',",
  ],
]);

const SCOPE_CONDITION = of('rate-limiter/quota-scope.ts', [
  ['cooling never ends', "rested: 'calm',\n      },\n    },\n    refusing", '},\n    },\n    refusing'],
  ['refusing never ends', "on: { rested: 'calm' },\n    },\n  },\n});", 'on: {},\n    },\n  },\n});'],
  [
    'a refusal does not cool',
    "{ target: 'cooling', actions: 'beginCooling' },",
    "{ actions: 'beginCooling' },",
  ],
]);

const WINDOW = of('rate-limiter/quota-window.ts', [
  [
    'there is room for one more',
    'free = Math.min(free, limit - spent);',
    'free = Math.min(free, limit - spent + 1);',
  ],
  [
    'a lowered limit leaves nothing',
    'const lowered = Math.max(1, Math.min(measured, limit - 1));',
    'const lowered = Math.max(0, Math.min(measured, limit - 1));',
  ],
  [
    'what comes back is counted twice',
    'spent: budget.spent - tokens }));\n  return forget(refunded, scopes);',
    'spent: budget.spent - 2 * tokens }));\n  return forget(refunded, scopes);',
  ],
  [
    'what is shared is lowered for each refusal of one moment',
    'if (buckets !== null || (rise !== null && !isDigested(rise.loweredFor))) return budget;',
    'if (buckets !== null) return budget;',
  ],
  [
    'a limit comes up beyond what it was',
    'const higher = Math.min(fullLimit, limit + Math.max(1, Math.floor(limit / 10)));',
    'const higher = limit + fullLimit;',
  ],
  [
    'a scope is forgotten while its tokens count',
    'every(({ spent, rise }) => spent === 0 && rise === null)',
    'every(({ rise }) => rise === null)',
  ],
]);

/** What only two runs can notice that share a limiter. */
const SHARED_LIMITER = of('rate-limiter/rate-limiter.ts', [
  [
    'a cancel takes what a worker of the same name waits for elsewhere',
    'context.queue.filter((waiting) => waiting.requestId !== event.requestId)',
    "context.queue.filter(({ requestId }) => requestId.split(':')[1] !== event.requestId.split(':')[1])",
  ],
  [
    'a grant goes to whoever has waited longest',
    "enqueue.sendTo(waiting.replyTo, {\n          type: 'tokens.granted',",
    "enqueue.sendTo((context.queue[0] ?? waiting).replyTo, {\n          type: 'tokens.granted',",
  ],
  [
    'the load of one property lowers the limits of all',
    "if (quota === 'qps' && cooled !== undefined) {",
    'if (cooled !== undefined) {',
  ],
  [
    'a refusal that names the user is taken for the property’s',
    'if (named.length > 0) return named;',
    'if (named.length > 9) return named;',
  ],
  [
    'a refusal that names the user lowers the property’s limit',
    'lowerLimits(budgets, named.length > 0 ? named : scopes, cooled, isDigested)',
    'lowerLimits(budgets, scopes, cooled, isDigested)',
  ],
  [
    'whoever waits is denied when one has to be',
    'const refused = refusing(context, waiting.scopes);',
    'const refused = refusing(context, context.queue.flatMap(({ scopes }) => scopes));',
  ],
  [
    'everybody rests when one property does',
    "return scopes.every((scope) => conditionOf(context, scope).state === 'calm')",
    "return scopes.length > 0 && [...context.conditions.values()].every(({ state }) => state === 'calm')",
  ],
  [
    'a grant counts for the property alone',
    'budgets = spend(known, waiting.scopes, tokens);',
    'budgets = spend(known, waiting.scopes.slice(0, 1), tokens);',
  ],
  [
    'what was not sent is free for the property alone',
    'budgets: refund(context.budgets, lease.scopes, tokens),',
    'budgets: refund(context.budgets, lease.scopes.slice(0, 1), tokens),',
  ],
  [
    'what expires is free for the property alone',
    'expire(context.budgets, event.scopes, event.windowMs, event.tokens, event.accepted)',
    'expire(context.budgets, event.scopes.slice(0, 1), event.windowMs, event.tokens, event.accepted)',
  ],
  [
    'who returns a lease takes the others’ with it',
    'leases: withUnsettled(context.leases, lease, lease.unsettled - tokens),',
    'leases: Lookup.of<Lease>(),',
  ],
  [
    'a row of refusals is never over',
    "enqueue.raise({ type: 'scope.rested', scope }, { id: restId(scope), delay });",
    '',
  ],
  [
    'a row that the server ended leaves its timer',
    'conditions = withCondition(conditions, scope, after);\n        enqueue.cancel(restId(scope));',
    'conditions = withCondition(conditions, scope, after);',
  ],
]);

const SHARED_WINDOW = of('rate-limiter/quota-window.ts', [
  [
    'a property that has ended is remembered',
    'every(({ spent, rise }) => spent === 0 && rise === null)',
    'every(({ spent, rise }) => spent < 0 && rise === null)',
  ],
  [
    'there is room when one of the budgets has some',
    'free = Math.min(free, limit - spent);',
    'free = free === Number.MAX_SAFE_INTEGER ? limit - spent : Math.max(free, limit - spent);',
  ],
]);

const SHARED_SCOPE = of('rate-limiter/quota-scope.ts', [
  ['a calm scope never forgets its row', "        rested: { actions: 'forgetCoolings' },\n", ''],
]);

const KEEPER = of(
  'lease-keeper/lease-keeper.ts',
  [
    [
      'a lease counts from the answer, not from before the question',
      "enqueue.raise({ type: 'lease.expired', serial }, { id: other(context.timer), delay: leaseMs });",
      "enqueue.raise({ type: 'lease.expired', serial }, { id: other(context.timer), delay: leaseMs + 1 });",
    ],
    [
      'the age of a lease that has just been taken does not count',
      'Math.max(0, leaseMs - ageMs)',
      'Math.max(0, leaseMs)',
    ],
    [
      'an answer for an earlier renewal is believed',
      "isAnswer: ({ context, event }) => 'serial' in event && event.serial === context.asked",
      'isAnswer: () => true',
    ],
    [
      'an answer that came too late is believed',
      'context.expired >= event.serial',
      'context.expired > event.serial',
    ],
    [
      'that it is taken is ignored while it is kept',
      "kept: {\n      initial: 'resting',\n      on: {\n        'lease.taken': { target: 'lost', actions: 'noteTaken' },",
      "kept: {\n      initial: 'resting',\n      on: {",
    ],
    [
      'that it is taken is ignored in doubt',
      "doubtful: {\n      initial: 'asking',\n      on: {\n        'lease.taken': { target: 'lost', actions: 'noteTaken' },",
      "doubtful: {\n      initial: 'asking',\n      on: {",
    ],
    ['who doubts may call', "snapshot.matches('kept')", "!snapshot.matches('released')"],
    [
      'who has lost it may call',
      "snapshot.status === 'active' && snapshot.matches('kept')",
      "snapshot.value !== 'released'",
    ],
    [
      'an answer does not stop the timer of the one before',
      'noteKept: enqueueActions(({ context, enqueue }) => {\n      enqueue.cancel(context.timer);',
      'noteKept: enqueueActions(({ context, enqueue }) => {',
    ],
    [
      'an answer stops the timer of its own renewal',
      "enqueue.cancel(context.timer);\n      enqueue.assign({ kept: context.asked, timer: other(context.timer), reason: '' });",
      "enqueue.cancel(other(context.timer));\n      enqueue.assign({ kept: context.asked, timer: context.timer, reason: '' });",
    ],
    [
      'a renewal that fails leaves its timer running',
      'enqueue.cancel(other(context.timer));\n      enqueue.assign({ reason: event.reason });',
      'enqueue.assign({ reason: event.reason });',
    ],
    [
      'a lease expires unnoticed while it rests',
      "'lease.expired': {\n              guard: 'isOfLastAnswer',\n              target: '#leaseKeeper.doubtful',\n              actions: ['noteExpired', 'tellDoubt', 'askToRenew'],\n            },\n",
      '',
    ],
    [
      'a lease expires unnoticed while it is renewed',
      "'lease.expired': { target: '#leaseKeeper.doubtful', actions: ['noteExpired', 'tellDoubt'] },",
      '',
    ],
    ['it is never renewed', "after: { renewal: { target: 'renewing', actions: 'askToRenew' } },", ''],
    ['doubt is never cleared', "after: { retry: { target: 'asking', actions: 'askToRenew' } },", ''],
    ['doubt has no end', "after: { giveUp: 'lost' },", ''],
    [
      'who is in doubt at rest waits for the next renewal and asks nobody',
      "actions: ['noteExpired', 'tellDoubt', 'askToRenew'],",
      "actions: ['noteExpired', 'tellDoubt'],",
    ],
    ['that it is lost is not told', "entry: ['stopExpiry', 'tellLost']", "entry: 'stopExpiry'"],
    [
      'a release leaves the keeper renewing',
      "'lease.taken': { target: 'lost', actions: 'noteTaken' },\n        release: 'released',\n      },\n      states: {\n        resting: {\n          on: {\n            'lease.changed': { target: 'renewing'",
      "'lease.taken': { target: 'lost', actions: 'noteTaken' },\n      },\n      states: {\n        resting: {\n          on: {\n            'lease.changed': { target: 'renewing'",
    ],
    [
      'a release in doubt leaves the keeper asking',
      "'lease.expired': { actions: 'noteExpired' },\n        release: 'released',",
      "'lease.expired': { actions: 'noteExpired' },",
    ],
    [
      'a changed presence is told with the next renewal only',
      "'lease.changed': { target: 'renewing', actions: 'askToRenew' },",
      '',
    ],
    [
      'a presence that changes during a renewal is forgotten',
      'noteChange: assign(({ context }) => ({ outdated: context.asked })),',
      'noteChange: assign({}),',
    ],
    [
      'a serial is used twice',
      'const serial = context.asked + 1;',
      'const serial = Math.max(1, context.asked);',
    ],
  ],
  'leases',
);

const LEASE_RULES = of(
  '../domain/lease-rules.ts',
  [
    [
      'a presence that is gone is enough at the first look',
      "state !== 'gone' || goneSince === null || isNewer(renewedAt, goneSince),",
      "state !== 'gone' || (goneSince !== null && isNewer(renewedAt, goneSince)),",
    ],
    [
      'a holder that is gone is never taken for dead',
      "goneSince: holder === 'gone' ? renewedAt : null",
      'goneSince: null',
    ],
    [
      'who has renewed since is taken for dead all the same',
      'isNewer(renewedAt, goneSince),',
      "goneSince === '',",
    ],
    [
      'a dead holder is reported as alive',
      "isAlive: holder === 'alive' || isNewer(renewedAt, first)",
      "isAlive: holder !== 'unknown' || isNewer(renewedAt, first)",
    ],
    [
      'a clock counts a renewal from its answer',
      'Math.max(untilMs, asked.atMs + leaseMs)',
      'Math.max(untilMs, leaseMs)',
    ],
    [
      'a renewal that nobody waits for counts',
      'if (asked?.serial !== serial) return validity;',
      'if (asked === undefined) return validity;',
    ],
    ['only timers tell when a lease is over', 'nowMs < untilMs', 'nowMs <= untilMs + 1e9'],
    [
      'a lease that has just been taken counts from its answer',
      'untilMs: askedAtMs + leaseMs,\n  asked: undefined',
      'untilMs: askedAtMs * 0 + leaseMs,\n  asked: undefined',
    ],
  ],
  'leases',
);

const LEASE_TABLE = of(
  '../model/lease-table.ts',
  [
    ['who looks takes what has not expired', 'expiresIn > 0', 'expiresIn > 1'],
    ['what has expired is never given', 'expiresIn > 0', 'expiresIn >= 0'],
    [
      'tokens are recorded without the row',
      'rows.some((row) => row.holder === holder);',
      'rows.length >= 0 || holder === "";',
    ],
    [
      'a renewal makes the row again',
      'if (!rows.some((row) => row.holder === holder)) return undefined;',
      'if (!rows.some((row) => row.holder === holder)) return [...rows, { holder, presence, ...renewed }];',
    ],
    ['a renewal does not last', '{ ...row, presence, ...renewed }', '{ ...row, presence }'],
    ['a renewal does not tell the presence', '{ ...row, presence, ...renewed }', '{ ...row, ...renewed }'],
    [
      'who takes leaves the row of whoever had it',
      'return { rows: [{ holder, presence, ...renewed }], busy };',
      'return { rows: [...rows, { holder, presence, ...renewed }], busy };',
    ],
  ],
  'leases',
);

export const MUTANTS: readonly Mutant[] = [
  ...WORKER,
  ...COORDINATOR,
  ...ACTIONS,
  ...KNOWLEDGE,
  ...BLAME,
  ...DISPATCH,
  ...LIMITER,
  ...SCOPE_CONDITION,
  ...WINDOW,
  ...SHARED_LIMITER,
  ...SHARED_WINDOW,
  ...SHARED_SCOPE,
  ...KEEPER,
  ...LEASE_RULES,
  ...LEASE_TABLE,
];
