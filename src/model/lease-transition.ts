/** Carries out one event of a lease world. */
import type { AnyEventObject } from 'xstate';
import {
  type BusyLease,
  lookAgain,
  NO_LOOK,
  renewalAsked,
  renewalKept,
  validSince,
} from '../domain/lease-rules.ts';
import type { Effect } from '../internals/xstate.ts';
import { type LeaseKeeperEvent, type LeaseKeeperSnapshot, leaseKeeperMachine } from '../machines/index.ts';
import { mayCall, rareLeaseKindOf } from './lease-events.ts';
import { mayRecord, releaseLease, renewLease, takeLease } from './lease-table.ts';
import {
  holderOf,
  type Keeping,
  type LeaseMessage,
  type LeaseModelOptions,
  type LeaseProcess,
  type LeaseRun,
  type LeaseTimer,
  type LeaseWorld,
  type LeaseWorldEvent,
  otherProcess,
  PROCESSES,
  type ProcessId,
  type Tokens,
} from './lease-world.ts';
import type { StepMemory } from './step-memory.ts';

const KEEPER = 'keeper';
/** The newest renewal of the only row. An older remembered one becomes `PAST`. */
const PRESENT = 1;
const PAST = 0;

type Draft = { -readonly [K in keyof LeaseWorld]: LeaseWorld[K] };
type Looking = Extract<LeaseRun, { kind: 'looking' }>;

const newProcess = (hasPresence: boolean): LeaseProcess => ({
  standing: 'running',
  begun: 0,
  session: hasPresence ? 'shown' : 'none',
  hampered: false,
  run: { kind: 'none' },
});

export const firstLeaseWorld = (options: LeaseModelOptions): LeaseWorld => ({
  status: 'active',
  output: undefined,
  error: undefined,
  processes: { a: newProcess(options.presence), b: newProcess(options.presence) },
  rows: [],
  messages: [],
  flying: [],
  rare: {},
  broken: [],
});

export function nextLeaseWorld(
  world: LeaseWorld,
  event: LeaseWorldEvent,
  options: LeaseModelOptions,
  memory: StepMemory,
): LeaseWorld {
  const turn = new LeaseTurn(world, options, memory);
  const kind = rareLeaseKindOf(event);
  if (kind !== undefined) turn.world.rare = { ...world.rare, [kind]: (world.rare[kind] ?? 0) + 1 };
  turn.carryOut(event);
  return turn.world;
}

class LeaseTurn {
  readonly world: Draft;
  readonly #options: LeaseModelOptions;
  readonly #memory: StepMemory;

  constructor(world: LeaseWorld, options: LeaseModelOptions, memory: StepMemory) {
    this.world = { ...world };
    this.#options = options;
    this.#memory = memory;
  }

  carryOut(event: LeaseWorldEvent): void {
    switch (event.type) {
      case 'time.passes':
        this.#pass();
        break;
      case 'message.arrives':
        this.#arrive(this.#takeMessage(event.message));
        break;
      case 'message.slows':
        this.#slow(event.message);
        break;
      case 'message.isLost':
        this.#lose(this.#takeMessage(event.message));
        break;
      case 'renewal.isRefused':
        this.#refuse(this.#takeMessage(event.message));
        break;
      case 'timer.fires':
        this.#fire(event.process, event.timer);
        break;
      case 'answer.isMissed':
        this.#missAnswer(event.process, event.serial);
        break;
      case 'run.looks':
        this.#look(event.process);
        break;
      case 'run.records':
        this.#record(event.process);
        break;
      case 'run.sends':
        this.#sendRequest(event.process);
        break;
      case 'run.ends':
        this.#endRun(event.process);
        break;
      case 'request.arrives':
        this.#arriveAtGoogle(event.request);
        break;
      case 'process.starts':
        this.#start(event.process);
        break;
      case 'process.stops':
        this.#stand(event.process, 'stopped');
        break;
      case 'process.wakes':
        this.#stand(event.process, 'running');
        break;
      case 'process.isKilled':
        this.#die(event.process, 'none');
        break;
      case 'host.vanishes':
        this.#die(event.process, 'ghost');
        break;
      case 'session.ends':
        this.#endSession(event.process, event.staysAway ? 'cutOff' : 'ended');
        break;
      case 'session.isMissed': {
        const { session } = this.world.processes[event.process];
        this.#put(event.process, { session: session === 'cutOff' ? 'away' : 'reopening' });
        this.#tellOfChange(event.process);
        break;
      }
      case 'session.opens':
        this.#put(event.process, { session: 'shown' });
        this.#tellOfChange(event.process);
        break;
    }
  }

  // Time.

  #pass(): void {
    this.world.rows = this.world.rows.map((row) => ({ ...row, expiresIn: sooner(row.expiresIn) }));
    for (const id of PROCESSES) {
      const { run } = this.world.processes[id];
      if (run.kind === 'looking') {
        const askedAgo = Math.min(run.askedAgo + 1, this.#options.leaseTicks);
        this.#put(id, { run: { ...run, askedAgo, next: run.next === 'tick' ? 'now' : run.next } });
      }
      if (run.kind !== 'keeping') continue;
      const { asked, untilMs } = run.validity;
      const atMs = Math.max((asked?.atMs ?? 0) - 1, -this.#options.leaseTicks);
      this.#keep(id, {
        timers: run.timers.map((timer) => ({ ...timer, dueIn: sooner(timer.dueIn) })),
        orders: run.orders.map((order) => ({ ...order, answerIn: sooner(order.answerIn) })),
        validity: { untilMs: sooner(untilMs), asked: asked && { ...asked, atMs } },
      });
    }
  }

  // Messages.

  #takeMessage(index: number): LeaseMessage {
    const message = this.world.messages[index];
    if (message === undefined) throw new Error(`there is no message ${index}`);
    this.world.messages = this.world.messages.filter((_, at) => at !== index);
    return message;
  }

  #send(message: LeaseMessage): void {
    this.world.messages = [...this.world.messages, message];
  }

  #slow(index: number): void {
    const slow = this.#takeMessage(index);
    this.#hamper(slow.process);
    this.#send({ ...slow, isLate: true });
  }

  #lose(message: LeaseMessage): void {
    this.#hamper(message.process);
    switch (message.kind) {
      case 'take':
        // A run being opened hears that the database is away. It ends, and so does its presence.
        if (this.#isPresent(message)) this.#leave(message.process);
        break;
      case 'record':
        if (this.#isPresent(message)) this.#keep(message.process, { call: undefined });
        break;
      case 'release':
        this.#endSession(message.process, 'none');
        break;
      case 'renew':
        break;
    }
  }

  #refuse(message: LeaseMessage): void {
    if (message.kind !== 'renew') throw new Error('only a renewal can be refused');
    this.#hamper(message.process);
    this.#send({ ...message, to: 'process', answer: 'refused' });
  }

  /** Whether the run that sent the message still exists. */
  #isPresent({ process, holder }: LeaseMessage): boolean {
    const entry = this.world.processes[process];
    return entry.run.kind !== 'none' && holderOf(process, entry) === holder;
  }

  #arrive(message: LeaseMessage): void {
    if (message.to === 'database') this.#arriveAtDatabase(message);
    else if (this.#isPresent(message)) this.#arriveAtProcess(message);
  }

  #answer(message: LeaseMessage): void {
    if (this.#isPresent(message)) this.#send({ ...message, to: 'process' });
  }

  // The database.

  #arriveAtDatabase(message: LeaseMessage): void {
    const { holder, process } = message;
    switch (message.kind) {
      case 'take':
        this.#answer({ ...message, answer: this.#takeInDatabase(message) });
        break;
      case 'renew': {
        const renewed = renewLease(this.world.rows, holder, message.presence, this.#renewed());
        if (renewed !== undefined) {
          this.#forgetPresent();
          this.world.rows = renewed;
        }
        this.#answer({ ...message, answer: renewed === undefined ? 'taken' : 'kept' });
        break;
      }
      case 'record':
        this.#answer({ ...message, answer: mayRecord(this.world.rows, holder) ? 'recorded' : 'lost' });
        break;
      case 'release':
        this.#forgetPresent();
        this.world.rows = releaseLease(this.world.rows, holder);
        if (!this.#isNewRun(message)) this.#endSession(process, 'none');
        break;
    }
  }

  #isNewRun({ process, holder }: LeaseMessage): boolean {
    return holderOf(process, this.world.processes[process]) !== holder;
  }

  #renewed() {
    return { renewedAt: PRESENT, expiresIn: this.#options.leaseTicks };
  }

  /** The current renewal becomes an older one. */
  #forgetPresent(): void {
    for (const id of PROCESSES) {
      const { run } = this.world.processes[id];
      if (run.kind === 'looking') this.#put(id, { run: { ...run, looks: past(run.looks) } });
    }
    this.world.messages = this.world.messages.map((message) => {
      if (message.kind !== 'take') return message;
      const { answer } = message;
      return {
        ...message,
        goneSince: message.goneSince && String(PAST),
        isRecheck: false,
        ...(typeof answer === 'object' ? { answer: { ...answer, renewedAt: String(PAST) } } : {}),
      };
    });
  }

  #takeInDatabase(message: Extract<LeaseMessage, { kind: 'take' }>): 'taken' | BusyLease {
    const { process, holder, presence, goneSince } = message;
    const asker = { holder, presence, goneSince };
    const before = this.world.rows.find((row) => row.holder !== holder);
    const { rows, busy } = takeLease(this.world.rows, asker, this.#renewed(), (name) => this.#isThere(name));
    if (busy !== undefined) {
      if (before === undefined || before.expiresIn === 0) this.#breaks('a free lease is not granted');
      const isGone = before?.presence !== null && before !== undefined && !this.#isThere(before.presence);
      if (isGone && message.isRecheck) this.#breaks('a dead holder is not replaced immediately');
      return busy;
    }
    this.#forgetPresent();
    this.world.rows = rows;
    if (before !== undefined) this.#overtake(otherProcess(process), before.holder, before.expiresIn > 0);
    this.#countTokens(process, holder);
    return 'taken';
  }

  /** The database has given this process's lease to another. */
  #overtake(process: ProcessId, holder: string, wasJudged: boolean): void {
    const entry = this.world.processes[process];
    if (wasJudged) {
      this.world.messages = this.world.messages.map((message) =>
        message.kind === 'take' && message.holder === holder ? { ...message, misjudged: true } : message,
      );
    }
    if (entry.run.kind !== 'keeping' || holderOf(process, entry) !== holder) return;
    if (!entry.hampered && entry.standing === 'running') {
      this.#breaks(`${process} lives and reaches the database, but has lost its lease`);
    }
    this.#keep(process, { misjudged: entry.run.misjudged || wasJudged });
  }

  /** A run that takes the property reads the tokens in the table. */
  #countTokens(taker: ProcessId, holder: string): void {
    const counted = (tokens: Tokens, isInTable: boolean): Tokens =>
      tokens === 'own' ? (isInTable ? 'counted' : 'uncounted') : tokens;
    this.world.flying = this.world.flying.map((request) =>
      request.holder === holder ? request : { ...request, tokens: counted(request.tokens, true) },
    );
    const id = otherProcess(taker);
    const { run } = this.world.processes[id];
    if (run.kind !== 'keeping' || run.call === undefined) return;
    const isOnTheWay = this.world.messages.some(
      ({ kind, process, to }) => kind === 'record' && process === id && to === 'database',
    );
    this.#keep(id, { call: { ...run.call, tokens: counted(run.call.tokens, !isOnTheWay) } });
  }

  #isThere(name: string): boolean {
    if (name.endsWith('old')) return false;
    if (name.endsWith('ghost')) return true;
    return PROCESSES.some((id) => id === name && this.world.processes[id].session === 'shown');
  }

  // Processes.

  #start(id: ProcessId): void {
    this.#endSession(id, this.#options.presence ? 'shown' : 'none');
    const run = { kind: 'looking', looks: NO_LOOK, next: 'now', askedAgo: 0, shown: null } as const;
    const begun = this.world.processes[id].begun + 1;
    this.#put(id, { standing: 'running', hampered: false, begun, run: { ...run, deadHolder: null } });
  }

  #stand(id: ProcessId, standing: 'running' | 'stopped'): void {
    this.#put(id, { standing });
    this.#hamper(id);
  }

  #die(id: ProcessId, session: 'none' | 'ghost'): void {
    this.#endSession(id, session);
    // Messages already sent still arrive. Their answers are ignored.
    this.world.messages = this.world.messages.filter(
      ({ process, to }) => process !== id || to === 'database',
    );
    this.#put(id, { standing: 'dead', run: { kind: 'none' } });
  }

  /** The session that shows the presence has ended at the server, or belongs to another process now. */
  #endSession(id: ProcessId, session: LeaseProcess['session']): void {
    if (this.world.processes[id].session === 'shown') {
      const past = session === 'ghost' ? `${id} ghost` : `${id} old`;
      const rename = (name: string | null): string | null => (name === id ? past : name);
      this.world.rows = this.world.rows.map((row) => ({ ...row, presence: rename(row.presence) }));
      this.world.messages = this.world.messages.map((message) =>
        'presence' in message ? { ...message, presence: rename(message.presence) } : message,
      );
      const { run } = this.world.processes[id];
      if (run.kind === 'looking') this.#put(id, { run: { ...run, shown: rename(run.shown) } });
    }
    this.#put(id, { session });
  }

  /** The ID of its presence, as the process knows it. */
  #presenceOf(id: ProcessId): string | null {
    const { session } = this.world.processes[id];
    if (session === 'shown') return id;
    return session === 'ended' || session === 'cutOff' ? `${id} old` : null;
  }

  #tellOfChange(id: ProcessId): void {
    const { run } = this.world.processes[id];
    if (run.kind === 'keeping' && run.keeper.status === 'active') this.#step(id, { type: 'lease.changed' });
  }

  // Runs that want the lease.

  #look(id: ProcessId): void {
    const entry = this.world.processes[id];
    const { run } = entry;
    if (run.kind !== 'looking') return;
    const presence = this.#presenceOf(id);
    const other = this.world.processes[otherProcess(id)];
    const isFirst = run.looks.first === undefined;
    const isQuiet = !this.world.messages.some(({ process }) => process !== id);
    const isDead = other.standing === 'dead' && isQuiet;
    const held = this.world.rows.find(({ holder }) => holder.startsWith(otherProcess(id)));
    const found = isDead ? (held?.holder ?? null) : null;
    const deadHolder = isFirst ? found : run.deadHolder;
    this.#put(id, { run: { ...run, next: 'answer', askedAgo: 0, shown: presence, deadHolder } });
    this.#send({
      kind: 'take',
      process: id,
      holder: holderOf(id, entry),
      to: 'database',
      isLate: false,
      presence,
      goneSince: run.looks.goneSince,
      isRecheck: run.looks.first === String(PRESENT) && run.next === 'moment',
    });
  }

  #hearLook(id: ProcessId, run: Looking, message: Extract<LeaseMessage, { kind: 'take' }>): void {
    const { answer } = message;
    if (answer === undefined) return;
    if (answer === 'taken') {
      this.#beginKeeping(id, run, message.misjudged === true);
      return;
    }
    const { looks, isAlive } = lookAgain(run.looks, answer);
    if (isAlive && !this.#options.wait) {
      const [row] = this.world.rows;
      if (row?.holder === run.deadHolder) this.#breaks('a dead holder is reported as alive');
      this.#leave(id);
      return;
    }
    this.#put(id, { run: { ...run, looks, next: answer.holder === 'gone' ? 'moment' : 'tick' } });
  }

  #leave(id: ProcessId): void {
    this.#endSession(id, 'none');
    this.#put(id, { run: { kind: 'none' } });
  }

  // Runs that hold it.

  #beginKeeping(id: ProcessId, { askedAgo, shown }: Looking, misjudged: boolean): void {
    const { leaseTicks, keeper } = this.#options;
    const input = { ...keeper, leaseMs: leaseTicks, ageMs: askedAgo };
    const { snapshot, effects } = this.#memory.begin(leaseKeeperMachine, KEEPER, input);
    this.#put(id, {
      run: {
        kind: 'keeping',
        // `begin` was given this machine.
        keeper: snapshot as LeaseKeeperSnapshot,
        timers: [],
        validity: shortened(validSince(-askedAgo, leaseTicks)),
        orders: [],
        call: undefined,
        sent: 0,
        told: 'nothing',
        misjudged,
      },
    });
    if (askedAgo > 0) this.#hamper(id);
    this.#carryOutAll(id, effects);
    if (this.#presenceOf(id) !== shown) this.#tellOfChange(id);
  }

  #arriveAtProcess(message: LeaseMessage): void {
    const { process: id } = message;
    const { run } = this.world.processes[id];
    if (run.kind === 'looking' && message.kind === 'take') this.#hearLook(id, run, message);
    if (run.kind !== 'keeping') return;
    if (message.kind === 'renew') this.#hearRenewal(id, message);
    if (message.kind === 'record' && run.call?.stage === 'recording') {
      if (message.answer === 'recorded') this.#keep(id, { call: { ...run.call, stage: 'recorded' } });
      else this.#keep(id, { call: undefined, told: 'refused' });
    }
  }

  /** The worst case: this book also passes on late answers. */
  #hearRenewal(id: ProcessId, { serial, answer }: Extract<LeaseMessage, { kind: 'renew' }>): void {
    const { run } = this.world.processes[id];
    if (run.kind !== 'keeping') return;
    const isAnswerInTime = run.orders.some((order) => order.serial === serial);
    this.#keep(id, { orders: run.orders.filter((order) => order.serial !== serial) });
    switch (answer) {
      case 'kept':
        if (isAnswerInTime) {
          const { leaseTicks } = this.#options;
          const validity = shortened(renewalKept(run.validity, serial, leaseTicks));
          // Requested and answered within a moment. Nothing earlier matters any more.
          const isAtRest =
            validity.untilMs === leaseTicks && !this.#hasLateMessage(id) && !this.#looksDead(id);
          this.#keep(id, { validity });
          if (isAtRest) this.#put(id, { hampered: false });
        }
        this.#step(id, { type: 'lease.kept', serial });
        break;
      case 'taken':
        this.#step(id, { type: 'lease.taken', reason: 'taken' });
        break;
      default:
        this.#step(id, { type: 'lease.unanswered', serial, reason: 'refused' });
    }
  }

  #hasLateMessage(id: ProcessId): boolean {
    return this.world.messages.some(({ process, isLate }) => process === id && isLate);
  }

  /** Another process has found this one gone and is about to check again, or is about to find it so. */
  #looksDead(id: ProcessId): boolean {
    const { run } = this.world.processes[otherProcess(id)];
    const isSuspected = run.kind === 'looking' && run.looks.goneSince !== null;
    return isSuspected || this.#presenceOf(id) === `${id} old`;
  }

  #missAnswer(id: ProcessId, serial: number): void {
    const { run } = this.world.processes[id];
    if (run.kind !== 'keeping') return;
    this.#keep(id, { orders: run.orders.filter((order) => order.serial !== serial) });
    this.#step(id, { type: 'lease.unanswered', serial, reason: 'late' });
  }

  #fire(id: ProcessId, timer: string): void {
    const { run } = this.world.processes[id];
    if (run.kind !== 'keeping') return;
    const fired = run.timers.find((entry) => entry.id === timer);
    this.#keep(id, { timers: run.timers.filter((entry) => entry !== fired) });
    if (fired !== undefined) this.#step(id, fired.event);
  }

  #step(id: ProcessId, event: LeaseKeeperEvent | AnyEventObject): void {
    const { run } = this.world.processes[id];
    if (run.kind !== 'keeping' || run.keeper.status !== 'active') return;
    const { snapshot, effects } = this.#memory.advance(leaseKeeperMachine, KEEPER, run.keeper, event);
    if (snapshot.status === 'error') this.#breaks(`the keeper threw: ${String(snapshot.error)}`);
    // `advance` was given this machine.
    this.#keep(id, { keeper: snapshot as LeaseKeeperSnapshot });
    this.#carryOutAll(id, effects);
  }

  #carryOutAll(id: ProcessId, effects: readonly Effect[]): void {
    for (const effect of effects) this.#carryOutEffect(id, effect);
  }

  #carryOutEffect(id: ProcessId, effect: Effect): void {
    const { run } = this.world.processes[id];
    if (run.kind !== 'keeping') return;
    switch (effect.kind) {
      case 'send':
        this.#askToRenew(id, Number(effect.event.serial));
        break;
      case 'schedule':
        this.#schedule(id, run, {
          id: effect.id ?? effect.event.type,
          event: effect.event,
          dueIn: effect.delayMs,
        });
        break;
      case 'cancel':
        this.#keep(id, { timers: run.timers.filter((timer) => timer.id !== effect.id) });
        break;
      case 'emit':
        if (effect.event.type === 'lease.lost') this.#hearLoss(id);
        break;
      case 'spawn':
      case 'stop':
        break;
    }
  }

  #schedule(id: ProcessId, run: Keeping, timer: LeaseTimer): void {
    if (run.timers.some((other) => other.id === timer.id)) {
      this.#breaks(`the timer ${timer.id} is set while it runs`);
    }
    this.#keep(id, { timers: [...run.timers, timer] });
  }

  #askToRenew(id: ProcessId, serial: number): void {
    const entry = this.world.processes[id];
    if (entry.run.kind !== 'keeping') return;
    const { validity, orders } = entry.run;
    if (orders.length > 0) this.#breaks('two renewals are under way');
    this.#keep(id, {
      validity: renewalAsked(validity, serial, 0),
      orders: [...orders, { serial, answerIn: this.#options.answerWithin }],
    });
    this.#send({
      kind: 'renew',
      process: id,
      holder: holderOf(id, entry),
      to: 'database',
      isLate: false,
      serial,
      presence: this.#presenceOf(id),
    });
  }

  #hearLoss(id: ProcessId): void {
    const entry = this.world.processes[id];
    const holder = holderOf(id, entry);
    const isItsOwn = this.world.rows.some((row) => row.holder === holder);
    if (isItsOwn && !entry.hampered && entry.standing === 'running') {
      this.#breaks(`${id} lives and reaches the database, but releases its lease`);
    }
    this.#keep(id, { told: 'lost' });
  }

  #record(id: ProcessId): void {
    const entry = this.world.processes[id];
    const holder = holderOf(id, entry);
    this.#keep(id, { call: { stage: 'recording', tokens: 'own' } });
    this.#send({ kind: 'record', process: id, holder, to: 'database', isLate: false });
  }

  #sendRequest(id: ProcessId): void {
    const entry = this.world.processes[id];
    const { run } = entry;
    if (run.kind !== 'keeping' || run.call === undefined) return;
    if (run.told === 'lost') this.#breaks(`${id} sends a request after it learned that its lease is lost`);
    this.world.flying = [...this.world.flying, { holder: holderOf(id, entry), tokens: run.call.tokens }];
    this.#keep(id, { call: undefined, sent: 1 });
  }

  /** Bytes under way arrive, even if their process is gone. */
  #arriveAtGoogle(index: number): void {
    const request = this.world.flying[index];
    this.world.flying = this.world.flying.filter((_, at) => at !== index);
    if (request?.tokens === 'uncounted') {
      this.#breaks(
        `a request of ${request.holder} arrives that the process holding the property does not count`,
      );
    }
  }

  #endRun(id: ProcessId): void {
    this.#step(id, { type: 'release' });
    const entry = this.world.processes[id];
    const { run } = entry;
    if (run.kind !== 'keeping') return;
    if (mayCall(run)) this.#breaks(`${id} may still call after its run has ended`);
    if (run.keeper.status === 'active' || run.timers.length > 0) {
      this.#breaks(`the keeper of ${id} continues after its run has ended`);
    }
    const holder = holderOf(id, entry);
    this.world.messages = this.world.messages.filter(
      ({ process, to }) => process !== id || to === 'database',
    );
    this.#send({ kind: 'release', process: id, holder, to: 'database', isLate: false });
    this.#put(id, { run: { kind: 'none' } });
  }

  // The draft.

  #put(id: ProcessId, change: Partial<LeaseProcess>): void {
    const { processes } = this.world;
    this.world.processes = { ...processes, [id]: { ...processes[id], ...change } };
  }

  #keep(id: ProcessId, change: Partial<Omit<Keeping, 'kind'>>): void {
    const { run } = this.world.processes[id];
    if (run.kind === 'keeping') this.#put(id, { run: { ...run, ...change } });
  }

  #hamper(id: ProcessId): void {
    this.#put(id, { hampered: true });
  }

  #breaks(what: string): void {
    this.world.broken = [...this.world.broken, { invariant: 11, what }];
  }
}

const sooner = (ticks: number): number => Math.max(0, ticks - 1);

/** A lease that expired long ago is the same as one that expired just now. */
const shortened = <V extends { readonly untilMs: number }>(validity: V): V => ({
  ...validity,
  untilMs: Math.max(0, validity.untilMs),
});

const past = ({ first, goneSince }: Looking['looks']): Looking['looks'] => ({
  first: first && String(PAST),
  goneSince: goneSince && String(PAST),
});
