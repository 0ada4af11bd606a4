/**
 * What each state, event, guard and actor of the machines means, in a sentence for whoever watches them. The inspector shows
 * these texts; a test says when one is missing.
 */

export interface MachineDescription {
  readonly purpose: string;
  /** By path from the root: `running.working.planning`. */
  readonly states: Readonly<Record<string, string>>;
  /** Events that the machine takes, by type. */
  readonly events: Readonly<Record<string, string>>;
  readonly guards: Readonly<Record<string, string>>;
  /** By the name of the implementation: `fetchBatch`. */
  readonly actors: Readonly<Record<string, string>>;
}

const runLife: MachineDescription = {
  purpose: 'Takes a run from opening to closing, and makes sure that every phase hears a halt.',
  states: {
    ready: 'Created and not started; commands are kept until they can be carried out.',
    opening: 'Opens step by step what the run needs.',
    'opening.credentials': 'Gets the first access token.',
    'opening.server': 'Starts the embedded PostgreSQL, if no database is given.',
    'opening.database': 'Connects to the database and checks it.',
    'opening.schema': 'Runs the migrations, or checks the tables.',
    'opening.property': 'Takes the leases of the property and of the account.',
    'opening.run': 'Writes the run’s row.',
    'opening.budgets': 'Counts the quota that earlier runs and other processes have used.',
    running: 'The coordinator and its workers are at work.',
    finishing: 'The machines have ended; the database hears about it.',
    'finishing.recording': 'Records how the run ended.',
    'finishing.recordingLater': 'The database was away; the end is recorded after a pause.',
    'finishing.tidying': 'Removes rows of replaced versions, as far as that is quick.',
    'finishing.reading': 'Reads the figures of the outcome.',
    'finishing.readingLater': 'The database was away; the figures are read after a pause.',
    counting: 'A dry run: counts what is missing.',
    closing: 'Closes what was opened, in reverse order.',
    ended: 'Everything is closed; the outcome is known.',
    closed: 'Closed for good.',
  },
  events: {
    start: 'The host runs it.',
    pause: 'No more pages shall be assigned.',
    resume: 'Go on after a pause.',
    'concurrency.change': 'Another maximum of concurrent calls.',
    halt: 'The run shall end, within its deadline.',
    close: 'The host is done with it.',
    'execution.ended': 'The coordinator has ended.',
    'execution.broke': 'A bug in the machines.',
    'halt.near': 'Four fifths of the halt’s deadline are over.',
    'halt.due': 'The halt’s deadline is over.',
  },
  guards: {
    isDryRun: 'Only counting was asked for.',
    isHalting: 'A halt was asked for before.',
    endsWell: 'Nothing failed or was halted.',
    hasHungCommit: 'A commit was still under way when the machines ended.',
    endsWellWithHungCommit: 'Complete, but a commit was still under way.',
    isHaltedAlready: 'The halt came before the start.',
    mayTidy: 'The end is recorded, everything is there, and nobody wants a halt.',
    isAnswered: 'The database answered.',
    mayAskAgain: 'The database was away, and there are attempts left.',
  },
  actors: {
    open: 'Opens one resource.',
    execute: 'Runs the coordinator.',
    ask: 'Asks the database one question.',
    closeAll: 'Closes all that is open.',
  },
};

const coordinator: MachineDescription = {
  purpose: 'Gives pages to the batch workers, waits for Google or the database, and decides how a run ends.',
  states: {
    running: 'Work is going on, or waits for Google or the database.',
    'running.working': 'Pages go out while a worker is free and a page waits.',
    'running.working.planning': 'Waits for the first part of the plan.',
    'running.working.dispatching': 'Gives pages to free workers.',
    'running.working.waitingForRetry': 'Only failed pages are left; they wait for their delay.',
    'running.working.draining': 'All pages are out; waits for the last calls.',
    'running.waitingForGoogle': 'Several calls in a row brought nothing; no pages go out.',
    'running.waitingForGoogle.sleeping': 'Waits before the next probe.',
    'running.waitingForGoogle.choosing': 'Waits for a free worker to send the probe.',
    'running.waitingForGoogle.probing': 'One worker asks for the totals of one day.',
    'running.waitingForDatabase': 'The database takes nothing; pages that were read wait in their calls.',
    'running.waitingForDatabase.sleeping': 'Waits before the next attempt.',
    'running.waitingForDatabase.retrying': 'All stalled calls try to commit again.',
    'running.waitingForDatabase.probing': 'Asks the database for a transaction that may write.',
    pausing: 'Unsent pages come back; calls under way finish.',
    paused: 'Nothing is under way.',
    drainingForQuota: 'The quota is used up; calls that have tokens finish.',
    halting: 'No more pages go out; every worker reports that it has stopped.',
    complete: 'Everything is there.',
    completeWithFailures: 'Everything but failed slices is there.',
    halted: 'Stopped early; the next run continues.',
    failed: 'Stopped by an error that no retry can fix.',
  },
  events: {
    'page.committed': 'A page’s rows and its ledger entry are in the database.',
    'page.failed': 'A page failed and is itself to blame.',
    'batch.stalled': 'The database does not take the pages of a call.',
    'pages.returned': 'Pages that were not attempted come back.',
    'worker.ready': 'A worker has waited long enough and takes work again.',
    'worker.halted': 'A worker has nothing under way and takes no more work.',
    'retry.due': 'The delay of failed pages is over.',
    'plan.supplied': 'More pages of the plan.',
    'plan.failed': 'The plan could not be read or extended.',
    'concurrency.change': 'Another maximum of concurrent calls.',
    halt: 'The run shall end.',
    fail: 'An error outside of the machines ends the run.',
    pause: 'No more pages shall go out.',
    resume: 'Go on after a pause.',
    'batch.ended': 'An assignment is over.',
  },
  guards: {
    canDispatch: 'A page waits and a worker is free.',
    wantsPlan: 'The look-ahead is short.',
    isFinished: 'The plan is complete, and nothing waits or is under way.',
    onlyRetriesAreLeft: 'Nothing but delayed retries is left.',
    somethingIsLeft: 'There is more than delayed retries.',
    hasPlan: 'The first pages have arrived, or there are none.',
    hasWork: 'A page waits, or the plan has more.',
    hasNoWork: 'No page waits and the plan is complete.',
    nobodyMoves: 'No worker is active.',
    somebodyHasStalled: 'A call’s pages wait for the database.',
    nobodyRetries: 'Every stalled call has reported its attempt.',
    allHalted: 'Every worker has stopped.',
    isDenied: 'The limiter grants no more tokens.',
    isFatal: 'The error cannot be fixed by a retry.',
    endsTheRun: 'The error is fatal, or the token was refused too often.',
    databaseIsAway: 'The database did not take the lease.',
    googleIsAway: 'Too many calls in a row brought nothing.',
    googleIsBack: 'A page arrived, or enough probes were answered.',
    googleProbeAnswered: 'The probe was answered.',
    canProbeGoogle: 'A worker is free for the probe.',
    googleProbeIsLost: 'The worker with the probe is gone.',
    googleProbeEnded: 'The probe is over.',
    noGoogleProbeIsLeft: 'The last probe failed.',
    planFailedFatally: 'The plan failed for good.',
    noProbeIsLeft: 'The last attempt on the database failed.',
    hasAnsweredInVain: 'The database answers and takes nothing.',
    workerCrashed: 'An actor that crashed is a worker.',
    mayRespawn: 'A worker may be replaced once more.',
    endsComplete: 'Nothing has failed.',
    endsWithFailures: 'A slice has failed.',
    endsHalted: 'A halt ends the run.',
  },
  actors: {
    batchWorker: 'Fetches batches of pages.',
    loadPlan: 'Says which pages to fetch, in parts.',
    probeDatabase: 'Finds out whether the database takes writes.',
    reapWorker: 'Ends the call of a crashed worker and finds what it had committed.',
  },
};

const batchWorker: MachineDescription = {
  purpose: 'Gets tokens for a batch of pages, has them fetched in one call, and reports page by page.',
  states: {
    idle: 'Takes work.',
    awaitingTokens: 'Waits for the rate limiter’s tokens.',
    calling: 'A call is under way.',
    'calling.fetching': 'The answer is read, and its pages are committed.',
    'calling.stalled': 'The database does not take pages; they wait here.',
    'calling.aborting': 'The call was aborted; a commit under way may still end.',
    backingOff: 'The call failed; waits before it takes work again.',
    halted: 'Has nothing under way and takes no more work.',
  },
  events: {
    'batch.assign': 'Pages to fetch.',
    'worker.pause': 'Unsent pages shall come back.',
    'worker.retry': 'The database shall be tried again.',
    'worker.halt': 'The worker shall stop.',
    'tokens.granted': 'As many requests may be sent.',
    'tokens.denied': 'No request may be sent for a long time.',
    'call.settled': 'Requests were answered or are lost; their tokens begin to age.',
    'call.unsent': 'Tokens whose requests were never sent.',
    'call.page': 'The result of one page.',
    'call.stalled': 'The database does not take pages.',
    'call.ended': 'The call is over.',
  },
  guards: {
    isMyGrant: 'The tokens are for the current assignment.',
    isMyDenial: 'The denial is for the current assignment.',
    callFailed: 'The call as a whole brought nothing.',
  },
  actors: { fetchBatch: 'One HTTP call, and the transactions of its pages.' },
};

const rateLimiter: MachineDescription = {
  purpose: 'Grants tokens within the quota, in the order in which they were requested.',
  states: {
    open: 'No request waits.',
    exhausted: 'A request waits for its budgets, or for a scope that cools.',
  },
  events: {
    'tokens.request': 'A worker wants to send requests.',
    'tokens.cancel': 'It does not want them any more.',
    'lease.settled': 'Requests were answered or are lost; their tokens begin to age.',
    'lease.returned': 'Tokens that were not used.',
    'lease.expired': 'A window has passed since tokens settled: they no longer count.',
    'leases.recovered': 'Tokens that other processes took and that may still count.',
    'grace.over': 'Requests without an answer can no longer arrive.',
    'bucket.rolled': 'A minute has passed for the budgets of long windows.',
    'quota.refused': 'Google refused requests.',
    'scope.rested': 'A scope has rested after refusals.',
    'limit.rises': 'No refusal for a while: a lowered limit goes up a step.',
  },
  guards: {
    somebodyWaits: 'A request waits.',
    nobodyWaits: 'No request waits.',
    canGrant: 'A waiting request fits its budgets.',
    mustDeny: 'A waiting request needs a scope that refuses.',
  },
  actors: {},
};

const quotaScope: MachineDescription = {
  purpose: 'Decides, for one scope of the rate limiter, what follows when Google refuses a request.',
  states: {
    calm: 'Tokens are granted.',
    cooling: 'No tokens for a while; requests wait.',
    refusing: 'No tokens for long; requests are denied.',
  },
  events: {
    refused: 'Google refused a request.',
    accepted: 'Google took a request.',
    rested: 'The rest is over.',
  },
  guards: {
    endsPatience: 'The daily quota is used up, or it was refused too often in a row.',
    isDaily: 'The daily quota is used up.',
    coolsLonger: 'The refusal wants a longer rest than the current one.',
  },
  actors: {},
};

const concurrencyController: MachineDescription = {
  purpose: 'Finds out how many calls at once pay, and reduces them at the first sign of trouble.',
  states: {
    growing: 'Slow start: one more for each call that ends well.',
    steady: 'The level is kept.',
    'steady.resting': 'Waits before one more is tried.',
    'steady.due': 'Waits for enough calls to judge by.',
    raised: 'One more is on trial.',
    'raised.soaking': 'Waits for the shortest time of a trial.',
    'raised.due': 'Waits for enough calls to judge by.',
    recovering: 'After trouble: back at the last good level.',
    'recovering.soaking': 'Waits for the shortest time after trouble.',
    'recovering.due': 'Waits for enough calls without trouble.',
    released: 'The user sets the level.',
  },
  events: {
    'call.began': 'A call has its tokens.',
    'call.refused': 'Google refused pages of a call.',
    'call.ended': 'A call ended well.',
    'call.failed': 'A call failed, or most of its pages did.',
    'call.void': 'A call that says nothing about the level.',
    release: 'The user sets the level from now on.',
  },
  guards: {
    hasNoSlowStart: 'Slow start is turned off.',
    isNews: 'The trouble began after the last decrease.',
    isNearQuota: 'So much of a budget is used that more calls would only wait.',
    mayRaise: 'The maximum is not reached, and there is quota and work for more.',
    mayGrow: 'A full call ended well, and there is room for one more.',
    isRoundOver: 'As many calls have ended as the round had workers.',
    isRoundFlat: 'The round brought no more throughput than the one before.',
    beganAtMost: 'The round began at the maximum.',
    isMeasured: 'Enough calls have ended to judge by.',
    wasUsed: 'All workers of the level had work.',
    hasGained: 'The extra worker brought enough.',
    isClean: 'Enough calls ended well since the trouble.',
  },
  actors: {},
};

const leaseKeeper: MachineDescription = {
  purpose: 'Renews the leases of a run, and stops its calls when it is no longer sure of them.',
  states: {
    kept: 'The leases are ours.',
    'kept.resting': 'Waits for the next renewal.',
    'kept.renewing': 'A renewal is under way.',
    doubtful: 'A lease may have expired: no call may start.',
    'doubtful.asking': 'A renewal is under way.',
    'doubtful.resting': 'Waits before the next attempt.',
    lost: 'Another run has a lease, or it was in doubt for too long.',
    released: 'The leases were given back.',
  },
  events: {
    'lease.kept': 'The database has renewed every lease.',
    'lease.unanswered': 'A renewal was not answered in time, or not accepted.',
    'lease.taken': 'Another holder has a lease.',
    'lease.changed': 'The holder’s details have changed: renew at once.',
    'lease.expired': 'A lease may have been taken since it was last renewed.',
    release: 'The run is over.',
  },
  guards: {
    isAnswer: 'The answer is to the current renewal.',
    isLateAnswer: 'The answer came after the lease may have expired.',
    isOutdatedAnswer: 'The answer is to a renewal with outdated details.',
    isOfLastAnswer: 'The expiry is that of the last answer.',
  },
  actors: { leaseBook: 'Asks the database to renew.' },
};

/** By the machine’s id. */
export const DESCRIPTIONS: Readonly<Record<string, MachineDescription>> = {
  runLife,
  coordinator,
  batchWorker,
  rateLimiter,
  quotaScope,
  concurrencyController,
  leaseKeeper,
};
