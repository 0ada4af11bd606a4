import pc from 'picocolors';
import { describe, expect, it } from 'vitest';
import type { Output } from '../../../src/cli/terminal/output.ts';
import { createProgressView } from '../../../src/cli/terminal/progress-view.ts';
import { systemClock } from '../../../src/domain/clock.ts';
import { displayWidth } from '../../../src/report/render.ts';
import { PROGRESS } from '../support/outcome.ts';

function fixture({ isTerminal, columns = 100 }: { isTerminal: boolean; columns?: number }) {
  const live: (readonly string[])[] = [];
  const notes: string[] = [];
  let nowMs = 1_000_000;
  const colours = pc.createColors(false);
  const output: Output = {
    print: () => undefined,
    note: (text) => notes.push(text),
    error: () => undefined,
    line: () => undefined,
    speakJson: () => undefined,
    hush: () => undefined,
    live: (lines) => live.push(lines),
    isTerminal,
    columns: () => columns,
    colours,
    noteColours: colours,
    flush: () => Promise.resolve(),
  };
  const view = createProgressView(output, { ...systemClock, now: () => nowMs });
  return {
    view,
    live,
    notes,
    wait: (ms: number) => {
      nowMs += ms;
    },
  };
}

describe('on a terminal', () => {
  it('is a bar with all the figures, in a hundred columns', () => {
    const { view, live } = fixture({ isTerminal: true });
    view.update(PROGRESS);
    expect(live).toEqual([
      [
        `  ${'█'.repeat(20)}${'░'.repeat(20)}  15 of 31 days  50 %  about 21 s left`,
        '  600,000 rows  30,000 rows/s  quota 32 of 1,200  1 retry  concurrency 3',
      ],
    ]);
  });

  it.each([100, 80, 60])('fits into %d columns', (columns) => {
    const { view, live } = fixture({ isTerminal: true, columns });
    view.update({ ...PROGRESS, state: 'waitingForDatabase', daysDone: 480, daysPlanned: 489 });
    for (const line of live[0] ?? []) expect(displayWidth(line)).toBeLessThan(columns);
  });

  it('says whom the run waits for', () => {
    for (const [state, words] of [
      ['waitingForGoogle', 'waiting for Google'],
      ['waitingForDatabase', 'waiting for the database'],
    ] as const) {
      const { view, live } = fixture({ isTerminal: true });
      view.update({ ...PROGRESS, state });
      expect(live[0]?.[0]).toContain(words);
    }
  });

  it('is drawn ten times a second at most, and goes away at the end', () => {
    const { view, live, wait } = fixture({ isTerminal: true });
    view.update(PROGRESS);
    wait(50);
    view.update(PROGRESS);
    expect(live).toHaveLength(1);
    wait(50);
    view.update(PROGRESS);
    expect(live).toHaveLength(2);
    view.end();
    expect(live.at(-1)).toEqual([]);
  });

  it('shows nothing done before anything is planned', () => {
    const { view, live } = fixture({ isTerminal: true });
    view.update({
      ...PROGRESS,
      state: 'planning',
      slicesDone: 0,
      slicesPlanned: 0,
      daysDone: 0,
      daysPlanned: 0,
    });
    expect(live[0]?.[0]).toContain('0 %');
  });
});

describe('without a terminal', () => {
  it('is a line every five seconds, and at every change of state', () => {
    const { view, notes, wait } = fixture({ isTerminal: false });
    view.update(PROGRESS);
    expect(notes).toEqual([
      'Fetching: 15 of 31 days, 600,000 rows, 30,000 rows/s, quota 32 of 1,200, 1 retry, concurrency 3, about 21 s left',
    ]);
    wait(4_999);
    view.update({ ...PROGRESS, rows: 700_000 });
    expect(notes).toHaveLength(1);
    wait(1);
    view.update({ ...PROGRESS, rows: 700_001 });
    expect(notes[1]).toContain('700,001 rows');
    view.update({ ...PROGRESS, state: 'halting' });
    expect(notes[2]).toMatch(/^Halting: 15 of 31 days/);
  });

  it('says when it is the quota that is waited for', () => {
    const { view, notes } = fixture({ isTerminal: false });
    view.update({ ...PROGRESS, quotaUsed: 60, quotaLimit: 60, pagesInFlight: 0, pagesWaiting: 3 });
    expect(notes[0]).toContain('quota 60 of 60 (waiting for more)');
  });

  it('does not repeat itself while nothing changes', () => {
    const { view, notes, wait } = fixture({ isTerminal: false });
    for (let line = 0; line < 5; line += 1) {
      view.update(PROGRESS);
      wait(5_000);
    }
    expect(notes).toHaveLength(1);
  });
});
