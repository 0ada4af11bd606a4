/**
 * One call of a verification: lease → token → HTTP stream → answers, each compared with the table's row. Rows never leave it,
 * only IDs do.
 */
import { fromCallback } from 'xstate';
import type { CallPermit } from '../domain/call-permit.ts';
import type { Clock } from '../domain/clock.ts';
import { askedKey, compareRows, findRow, type RowFigures } from '../domain/row-check.ts';
import { isTroubleOfTheCall } from '../machines/coordinator/trouble.ts';
import type { CallOutcome } from '../machines/messages.ts';
import type { AskEvent, AskGoogleInput, AskOrder, CheckResult } from '../machines/verification/context.ts';
import type { CheckEntry, Checks } from '../planning/checks.ts';
import { plainRows } from '../rows/row-block.ts';
import type { QueryAnswer } from '../search-console/answer/decode-rows.ts';
import type { Auth } from '../search-console/auth/auth.ts';
import type { Client, HttpCallEnd, PageOutcome } from '../search-console/request/call.ts';
import { keyQuery } from '../search-console/request/key-query.ts';
import type { TokenLedger } from '../store/token-ledger.ts';
import type { CallRegistry } from './call-registry.ts';
import { CallTokens } from './call-tokens.ts';
import { fatalOf, isPassing, type ListedNameAccess, type Refused } from './fetch-batch.ts';
import { createRefusals, type RefusalsOfCall } from './refusals.ts';

export interface AskGooglePorts {
  readonly siteUrl: string;
  readonly client: Client;
  readonly auth: Pick<Auth, 'token' | 'refused' | 'succeeded'>;
  readonly store: Pick<TokenLedger, 'recordLease' | 'settleLease'>;
  readonly clock: Clock;
  readonly checks: Checks;
  /** Google's spelling of the property's name. */
  readonly listedName: (access: ListedNameAccess) => Promise<string>;
  readonly calls: CallRegistry;
  readonly leases: CallPermit;
  /** Maximum time that an unanswered request can still be on its way. */
  readonly graceMs: number;
  /** Aborted when the whole verification is over. */
  readonly scope: AbortSignal;
  /** The request was sent: from now on it counts. Must not throw. */
  readonly onSent: (requests: number) => void;
  /** Work that outlives the call. It is awaited before the database is closed. */
  readonly background: (work: Promise<unknown>) => void;
}

/** The name in the registry of calls: there is one call at a time. */
const ONLY_CALL = 'call';

export function createAskGoogle(ports: AskGooglePorts) {
  const refusals = createRefusals();
  return fromCallback<AskOrder, AskGoogleInput>(({ input, sendBack, receive }) => {
    const controller = new AbortController();
    const signal = AbortSignal.any([controller.signal, ports.scope]);
    receive(() => controller.abort());
    let listening = true;
    const report = (event: AskEvent): void => {
      if (listening) sendBack(event);
    };
    const call = new CheckCall(ports, input, refusals.begin(), signal, report);
    const ended = call
      .run()
      .catch((error: unknown) => call.broke(error))
      .then((outcome) => report({ type: 'call.ended', outcome, chance: ports.clock.random() }));
    ports.calls.add(ONLY_CALL, { abort: () => controller.abort(), ended });
    return () => {
      listening = false;
      controller.abort();
    };
  });
}

/** A check of the call, and its progress. */
interface Pending {
  readonly id: string;
  readonly entry: CheckEntry;
}

class CheckCall {
  readonly #ports: AskGooglePorts;
  readonly #input: AskGoogleInput;
  readonly #refusals: RefusalsOfCall;
  readonly #signal: AbortSignal;
  readonly #report: (event: AskEvent) => void;
  readonly #tokens: CallTokens;
  readonly #pending: readonly Pending[];
  /** Checks without a good answer. Whether they are to blame is decided at the end of the call. */
  readonly #troubled: { readonly pending: Pending; readonly reason: string }[] = [];
  readonly #refused: Refused[] = [];
  #good = 0;
  /** Why the call ended before its answer did. */
  #stop: CallOutcome | undefined;

  constructor(
    ports: AskGooglePorts,
    input: AskGoogleInput,
    refusals: RefusalsOfCall,
    signal: AbortSignal,
    report: (event: AskEvent) => void,
  ) {
    this.#ports = ports;
    this.#input = input;
    this.#refusals = refusals;
    this.#signal = signal;
    this.#report = report;
    const { leaseId, scopes, checks } = input;
    this.#tokens = new CallTokens(ports, { leaseId, scopes, count: checks.length }, signal, report);
    this.#pending = input.checks.map(({ id }) => ({ id, entry: ports.checks.get(id) }));
  }

  async run(): Promise<CallOutcome> {
    const start = await this.#tokens.begin();
    if (start.kind === 'over') return start.outcome;
    const { accessToken } = start;
    const end = await this.#ask(accessToken);
    this.#tokens.settleRest(end);
    this.#judgeRefused();
    return this.#stop ?? this.#judgeTroubled(end) ?? (await this.#outcomeOf(end, accessToken));
  }

  /** A bug: no token may stay unsettled. */
  broke(error: unknown): CallOutcome {
    return this.#tokens.broke(error);
  }

  async #ask(accessToken: string): Promise<HttpCallEnd | undefined> {
    const { client, listedName } = this.#ports;
    const siteUrl = await listedName({ accessToken, signal: this.#signal });
    const steps = client.call(
      this.#pending.map(({ entry }) => keyQuery(siteUrl, entry)),
      { accessToken, signal: this.#signal, mode: this.#pending.length === 1 ? 'plain' : 'batch' },
    );
    for await (const step of steps) {
      switch (step.kind) {
        case 'sent':
          this.#tokens.sent();
          this.#ports.onSent(this.#pending.length);
          break;
        case 'head':
          this.#tokens.settle(step.index, step.status === 200);
          break;
        case 'answer':
          await this.#takeAnswer(this.#pending[step.index], step.outcome, accessToken);
          break;
        case 'end':
          return step.outcome;
      }
      // Leaving the loop closes the socket.
      if (this.#stop !== undefined) return undefined;
    }
    return undefined;
  }

  async #takeAnswer(pending: Pending | undefined, outcome: PageOutcome, token: string): Promise<void> {
    if (pending === undefined) return;
    switch (outcome.kind) {
      case 'ok':
        this.#ports.auth.succeeded(token);
        this.#refusals.good();
        this.#good += 1;
        this.#compare(pending, outcome.answer);
        return;
      case 'quota': {
        const { quota, retryAfterMs, scopeKind = null } = outcome;
        this.#tell(pending, { kind: 'refused', quota, retryAfterMs, scopeKind });
        return;
      }
      case 'retryable':
        this.#troubled.push({ pending, reason: outcome.reason });
        return;
      case 'invalid':
        // The server has read the request and answered.
        this.#good += 1;
        this.#fail(pending, outcome.reason, true);
        return;
      case 'unauthorized':
        this.#stop ??= await this.#tokens.unauthorized(token, outcome.reason);
        return;
      case 'forbidden':
      case 'fatal':
        this.#refused.push(outcome);
        this.#troubled.push({ pending, reason: outcome.reason });
    }
  }

  #compare(pending: Pending, { rows }: QueryAnswer): void {
    const { entry } = pending;
    const found = findRow(
      plainRows(rows),
      askedKey(entry).map(({ value }) => value),
    );
    const google: RowFigures | null =
      found === undefined
        ? null
        : { clicks: found.clicks, impressions: found.impressions, position: found.position };
    const comparison = compareRows(entry.table, google);
    const askedAt = new Date(this.#ports.clock.now()).toISOString();
    entry.outcome = { kind: 'answered', comparison, google, askedAt };
    this.#tell(pending, { kind: comparison === 'equal' ? 'equal' : 'different' });
  }

  #fail(pending: Pending, reason: string, final: boolean): void {
    pending.entry.outcome = { kind: 'unanswered', reason };
    this.#tell(pending, { kind: 'failed', reason, final });
  }

  /** If other checks of the call were answered, or this is the first refusal, it may be a temporary fault at Google. */
  #judgeRefused(): void {
    for (const refusal of this.#refused) {
      if (this.#isForGood(refusal)) this.#stop ??= { kind: 'fatal', fatal: fatalOf(refusal) };
    }
  }

  #isForGood(refusal: Refused): boolean {
    return !isPassing(refusal) || this.#refusals.refused();
  }

  /** Single checks that fail among others use up an attempt. If most of a call fails, the server is in trouble. */
  #judgeTroubled(end: HttpCallEnd | undefined): CallOutcome | undefined {
    const { blame } = this.#input;
    const [only] = this.#pending;
    if (blame === 'page' && only !== undefined && end?.kind === 'failed' && end.mayHaveArrived) {
      this.#fail(only, end.reason, false);
      return undefined;
    }
    const [first] = this.#troubled;
    if (first === undefined || end?.kind === 'aborted') return undefined;
    const isTrouble = isTroubleOfTheCall({ good: this.#good, bad: this.#troubled.length });
    if (!isTrouble || blame === 'page') {
      for (const { pending, reason } of this.#troubled) this.#fail(pending, reason, false);
    }
    return isTrouble ? { kind: 'failed', reason: first.reason } : undefined;
  }

  async #outcomeOf(end: HttpCallEnd | undefined, token: string): Promise<CallOutcome> {
    if (end === undefined) return { kind: 'failed', reason: 'the call stopped without reporting its end' };
    switch (end.kind) {
      case 'answered':
      case 'aborted':
        return { kind: end.kind };
      case 'failed':
        return { kind: 'failed', reason: end.reason };
      case 'unauthorized':
        return this.#tokens.unauthorized(token, end.reason);
      case 'forbidden':
      case 'fatal':
        if (!this.#isForGood(end)) return { kind: 'failed', reason: end.reason };
        return { kind: 'fatal', fatal: fatalOf(end) };
      case 'quota': {
        const { quota, retryAfterMs, scopeKind = null } = end;
        for (const pending of this.#pending) {
          this.#tell(pending, { kind: 'refused', quota, retryAfterMs, scopeKind });
        }
        return { kind: 'answered' };
      }
    }
  }

  #tell({ id }: Pending, result: CheckResult): void {
    this.#report({ type: 'call.check', checkId: id, result });
  }
}
