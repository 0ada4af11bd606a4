/**
 * Every state × every event of the machines. The tables are `Record`s over the machines' own types: a new state or
 * event does not compile until somebody has said what is to happen. What the machines keep in mind of each event, and what
 * they do where something else is known, is written down beside the tables (`tables/records`), with a seal for what messages
 * hold: read the difference before you renew it (`vitest run FILE --update`).
 */
import { fileURLToPath } from 'node:url';
import { describe, expect, test, vi } from 'vitest';
import { stateText } from './support/paths.ts';
import { failed, MachineSystem } from './support/system.ts';
import * as coordinator from './tables/coordinator.ts';
import { baseOf, createSheets, MACHINE_NAMES, recordFile, recordText } from './tables/sheets.ts';

/** The keys of a record, with their types. */
const keysOf = <K extends string>(record: Readonly<Record<K, unknown>>): K[] => Object.keys(record) as K[];
const SHEETS = createSheets();

test('every case is an event of the type that it is named after', () => {
  for (const { events } of Object.values(SHEETS)) {
    for (const [name, { type }] of Object.entries(events)) {
      const named = name.replace(/: .*$/, '').replace(/^after /, 'xstate.after.');
      expect(`${type}.`.startsWith(`${named}.`)).toBe(true);
    }
  }
});

describe.each(MACHINE_NAMES)('%s', (title) => {
  const sheet = SHEETS[title];
  const built = sheet.build();
  describe.each(built.situations)('%s', (situation) => {
    test('is the state it is called', () => expect(built.state(situation)).toBe(baseOf(situation)));
    if (!sheet.tabled.includes(situation)) return;
    test.each(Object.keys(sheet.columns))('%s', (name) => {
      expect(built.answer(situation, name).outcome).toEqual(sheet.expected(situation, name));
    });
  });

  test('every row of the table is of a situation', () => {
    expect(built.situations).toEqual(expect.arrayContaining([...sheet.tabled]));
  });

  test('does and keeps in mind what is written down', async () => {
    await expect(recordText(sheet)).toMatchFileSnapshot(fileURLToPath(recordFile(title)));
  });
});

/** Brings a real run to each of its ends. */
const ENDS: Record<coordinator.End, (system: MachineSystem) => void> = {
  complete: (system) => system.finish(),
  completeWithFailures: (system) => system.finish(() => failed(true)),
  halted: (system) => {
    system.coordinator.send(coordinator.CASES.halt);
    for (const call of [...system.open]) call.fail({ kind: 'aborted' });
  },
  failed: (system) => {
    system.coordinator.send(coordinator.CASES.fail);
    for (const call of [...system.open]) call.fail({ kind: 'aborted' });
  },
};

test.each(keysOf(ENDS))('coordinator %s: takes no event any more', (end) => {
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
  const system = new MachineSystem({ slices: 2 }).start();
  try {
    ENDS[end](system);
    expect(system.snapshot.value).toBe(end);
    const before = stateText(system.snapshot);
    for (const event of Object.values(coordinator.CASES)) system.coordinator.send(event);
    expect(stateText(system.snapshot)).toBe(before);
    expect(system.clock.pending).toEqual([]);
  } finally {
    system.stop();
    warn.mockRestore();
  }
});
