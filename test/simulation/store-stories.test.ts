import { expect, test } from 'vitest';
import type { Slice } from '../../src/domain/slice.ts';
import { Chance } from './chance.ts';
import { type ContractGround, postgresGround, simulatedGround } from './contract-ground.ts';
import { answered, commit, HOUR_MS, KEY, MINUTE_MS, PARAMETERS, rows } from './contract-steps.ts';

/** Whatever the order of what is asked: both answer the same. */
test.each([1, 2, 3, 4, 5, 6])(
  'both stores answer alike, whatever is asked of them: story %d',
  async (seed) => {
    await using real = await postgresGround();
    await using simulated = await simulatedGround();
    const told = [await tell(real, seed), await tell(simulated, seed)];
    expect(told[1]).toEqual(told[0]);
  },
);

/** A made-up story, told to one store; ids become the order in which they were first heard of. */
async function tell(ground: ContractGround, seed: number): Promise<unknown[]> {
  const chance = new Chance(seed, 'contract');
  const keys = ['2026-03-01', '2026-03-02', '2026-03-03'].map((date) => ({ ...KEY, date }));
  const names = new Map<string, string>();
  const name = (id: string): string => {
    const known = names.get(id) ?? `s${names.size}`;
    names.set(id, known);
    return known;
  };
  const plain = (value: unknown): unknown =>
    JSON.parse(
      JSON.stringify(value, (field, held) =>
        (field === 'id' || field === 'sliceId') && typeof held === 'string' ? name(held) : held,
      ),
    );
  const told: unknown[] = [];
  let run = await ground.begin(PARAMETERS);
  let slices: Slice[] = [];
  for (let step = 0; step < 40; step += 1) {
    switch (
      chance.pick([
        'commit',
        'commit',
        'commit',
        'commit',
        'open',
        'open',
        'fail',
        'empty',
        'settle',
        'begin',
        'pass',
      ] as const)
    ) {
      case 'commit': {
        const slice = slices[chance.below(slices.length + 1)];
        const count = chance.pick([0, 1, 3, 4, 4]);
        const startRow = chance.pick([0, 0, 4, 8]);
        const page = rows(count, chance.pick(['', 'x', String(startRow)]));
        const how = { startRow, final: chance.is(0.5), mayBeEmpty: chance.is(0.5) };
        if (slice === undefined) break;
        const result = await commit(run, slice, page, how);
        if ('next' in result && result.next.kind === 'again')
          slices.push({ ...slice, id: result.next.sliceId });
        told.push(plain(result.kind === 'rejected' ? result.kind : result));
        break;
      }
      case 'open': {
        const wanted = chance.shuffled(keys).slice(0, chance.whole(1, 3));
        const opened = answered(await run.store.openSlices(wanted, { continueYoungerThanMinutes: 15 }));
        slices = [...slices, ...opened.map(({ slice }) => slice)].slice(-5);
        told.push(plain(opened));
        break;
      }
      case 'fail': {
        const slice = slices[chance.below(slices.length + 1)];
        if (slice !== undefined) told.push(await run.store.failSlice(slice.id, 'so it goes'));
        break;
      }
      case 'empty':
        told.push(await run.store.sealEmptySlices([chance.pick(keys)], { final: chance.is(0.5) }));
        break;
      case 'settle':
        told.push(
          await run.store.settleSpeculative(
            keys.slice(chance.below(3)).map((key) => ({ ...key, final: chance.is(0.5) })),
          ),
        );
        break;
      case 'begin':
        if (chance.is(0.5)) await run.finish(chance.pick(['complete', 'halted']));
        run = await ground.begin({ ...PARAMETERS, refresh: chance.is(0.3), acceptShrunk: chance.is(0.3) });
        break;
      case 'pass':
        await ground.pass(chance.pick([MINUTE_MS, 20 * MINUTE_MS, 25 * HOUR_MS]));
    }
    told.push(
      plain(answered(await run.store.readCoverage(PARAMETERS))),
      await ground.seen(chance.pick(keys)),
    );
  }
  return told;
}
