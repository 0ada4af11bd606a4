import type { Holder, LeaseTable, PropertyGrant, Taking } from '../../src/db/lease-book.ts';
import { LEASE_MS } from '../../src/db/lease-book.ts';
import type { Presence } from '../../src/db/presence.ts';
import type { Answer, RunIdentity } from '../../src/db/types.ts';
import { LongtailError } from '../../src/errors.ts';
import type { Database } from './database.ts';
import type { Process } from './process.ts';

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
    presence: string | null,
    isThere: (presence: string) => boolean,
  ): Extract<Taking<never>, { kind: 'busy' }> | undefined {
    const others = this.#rows.filter((row) => row.resource === resource && row.party !== party);
    const living = others.filter(
      (row) => row.expiresAt > this.#now() && (row.presence === null || isThere(row.presence)),
    );
    const [newest] = living.sort((one, other) => other.renewedAt - one.renewedAt);
    if (newest !== undefined) {
      const holder = living.some((row) => row.presence !== null) ? 'alive' : 'unknown';
      return { kind: 'busy', holder, renewedAt: String(newest.renewedAt) };
    }
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
    takeProperty: (siteUrl, holder, presence) =>
      orLongtailError(
        database.ask(
          process,
          (): Taking<PropertyGrant> =>
            tables.holders.take(`site:${siteUrl}`, holder, presence, isThere) ?? {
              kind: 'taken',
              value: tables.runs.takeOver(),
            },
          process,
        ),
      ),
    takeScope: (scope, holder, presence) =>
      orLongtailError(
        database.ask(
          process,
          (): Taking<null> =>
            tables.holders.take(scope, holder, presence, isThere) ?? { kind: 'taken', value: null },
          process,
        ),
      ),
    renew: (holderId, resources, presence) =>
      database.ask(process, () => tables.holders.renew(holderId, resources, presence)),
    release: async (holderId) => {
      await database.ask(process, () => tables.holders.release(holderId));
    },
  };
}

/** A process's presence: there while it lives, also when it is frozen, unless its session is ended. */
export function presenceOf(database: Database, process: Process): Presence {
  const name = `presence of ${process.name}`;
  database.presences.add(name);
  return {
    name: () => (database.presences.has(name) ? name : null),
    onChange: () => () => undefined,
    leave: async () => void database.presences.delete(name),
  };
}
