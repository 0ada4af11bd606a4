import { LongtailError } from '../../src/domain/errors.ts';
import { type BusyLease, type HolderState, judgeHolders } from '../../src/domain/lease-rules.ts';
import type {
  Holder,
  LeaseTable,
  PropertyGrant,
  Taking,
  TakingOptions,
} from '../../src/postgres/locks/lease-book.ts';
import { LEASE_MS } from '../../src/postgres/locks/lease-book.ts';
import type { Presence } from '../../src/postgres/locks/presence.ts';
import type { Answer, RunIdentity } from '../../src/store/types.ts';
import type { Database } from './database.ts';
import type { Process } from './process.ts';
import type { World } from './world.ts';

interface LeaseRow {
  readonly resource: string;
  readonly holder: string;
  readonly party: string;
  presence: string | null;
  renewedAt: number;
  expiresAt: number;
}

/** Who holds what, and until when. */
export class LeaseRows {
  readonly #now: () => number;
  #rows: LeaseRow[] = [];

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Undefined: taken. `isThere` says whether a presence is still shown. */
  take(
    resource: string,
    { id, party }: Holder,
    { presence, goneSince }: TakingOptions,
    isThere: (presence: string) => boolean,
  ): BusyLease | undefined {
    const others = this.#rows.filter((row) => row.resource === resource && row.party !== party);
    const stateOf = ({ presence: shown }: LeaseRow): HolderState => {
      if (shown === null) return 'unknown';
      return isThere(shown) ? 'alive' : 'gone';
    };
    const unexpired = others.filter((row) => row.expiresAt > this.#now());
    const busy = judgeHolders(
      unexpired.map((row) => ({ state: stateOf(row), renewedAt: String(row.renewedAt) })),
      goneSince,
    );
    if (busy !== undefined) return busy;
    this.#rows = this.#rows.filter((row) => !others.includes(row));
    this.#rows = this.#rows.filter((row) => row.resource !== resource || row.holder !== id);
    const now = this.#now();
    this.#rows.push({ resource, holder: id, party, presence, renewedAt: now, expiresAt: now + LEASE_MS });
    return undefined;
  }

  renew(holder: string, resources: readonly string[], presence: string | null): boolean {
    const ours = this.#rows.filter((row) => row.holder === holder && resources.includes(row.resource));
    for (const row of ours) {
      row.presence = presence;
      row.renewedAt = this.#now();
      row.expiresAt = this.#now() + LEASE_MS;
    }
    return ours.length === resources.length;
  }

  release(holder: string): void {
    this.#rows = this.#rows.filter((row) => row.holder !== holder);
  }

  holds({ holder }: Pick<RunIdentity, 'holder'>, scopes: readonly string[]): boolean {
    return scopes
      .filter((scope) => scope.startsWith('site:') || scope.startsWith('user:'))
      .every((scope) => this.#rows.some((row) => row.resource === scope && row.holder === holder));
  }
}

/** The leases of the simulated database, as one process sees them. */
export function leaseTableOf(database: Database, process: Process): LeaseTable {
  const { tables } = database;
  const isThere = (presence: string): boolean => database.presences.has(presence);
  const orLongtailError = async <T>(asked: Promise<Answer<T>>): Promise<T> => {
    const answer = await asked;
    if (answer.kind === 'ok') return answer.value;
    throw new LongtailError('DATABASE_UNAVAILABLE', answer.reason, 'Run again.');
  };
  return {
    takeProperty: (siteUrl, holder, options) =>
      orLongtailError(
        database.ask(
          process,
          (): Taking<PropertyGrant> =>
            tables.holders.take(`site:${siteUrl}`, holder, options, isThere) ?? {
              kind: 'taken',
              value: tables.runs.takeOver(),
            },
          process,
        ),
      ),
    takeScope: (scope, holder, options) =>
      orLongtailError(
        database.ask(
          process,
          (): Taking<null> =>
            tables.holders.take(scope, holder, options, isThere) ?? { kind: 'taken', value: null },
          process,
        ),
      ),
    renew: (holderId, resources, presence) =>
      database.ask(process, () => tables.holders.renew(holderId, resources, presence)),
    release: async (holderId) => {
      const answer = await database.ask(process, () => tables.holders.release(holderId));
      return answer.kind === 'ok';
    },
  };
}

/**
 * A process's presence: there while it lives, also when it is frozen. When its session is ended it is shown again as soon as
 * the process can; `staysAway`: it cannot.
 */
export function presenceOf(database: Database, process: Process, world: World): SimulatedPresence {
  let name: string | null = null;
  let serial = 0;
  const listeners = new Set<() => void>();
  const tell = (): void => {
    for (const listener of [...listeners]) listener();
  };
  const enter = (): void => {
    serial += 1;
    name = `presence ${serial} of ${process.name}`;
    database.presences.add(name);
  };
  const gone = (): void => {
    if (name !== null) database.presences.delete(name);
  };
  enter();
  return {
    name: () => name,
    onChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    leave: async () => gone(),
    gone,
    end(staysAway) {
      gone();
      // A process that stands still hears of it later.
      world.after(
        1,
        () => {
          name = null;
          tell();
          if (staysAway) return;
          world.after(
            50,
            () => {
              enter();
              tell();
            },
            process,
          );
        },
        process,
      );
    },
  };
}

export interface SimulatedPresence extends Presence {
  /** The server has noticed that the process is gone. */
  gone(): void;
  /** The server ends its session. */
  end(staysAway: boolean): void;
}
