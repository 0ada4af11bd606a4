import { existsSync, globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string): string => readFileSync(`${root}${path}`, 'utf8');

interface Invariant {
  readonly number: number;
  readonly enforcedIn: readonly string[];
  readonly checkedBy: readonly string[];
}

const quoted = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text);

/** The rows of SPEC.md's table. */
const invariants: readonly Invariant[] = read('SPEC.md')
  .split('\n')
  .filter((line) => /^\| \d+ \|/.test(line))
  .map((line) => {
    const [number = '', , enforcedIn = '', checkedBy = ''] = line.slice(2, -2).split(' | ');
    return { number: Number(number), enforcedIn: quoted(enforcedIn), checkedBy: quoted(checkedBy) };
  });

/** What a test says of itself. */
function heldBy(path: string): number[] {
  const line = read(path).match(/^\/\/ Holds invariants ([\d, ]+) of SPEC\.md\.$/m)?.[1] ?? '';
  return line.split(', ').filter(Boolean).map(Number);
}

describe('the specification', () => {
  it('numbers its invariants without a gap', () => {
    expect(invariants.map(({ number }) => number)).toEqual(invariants.map((_, index) => index + 1));
    expect(invariants.length).toBeGreaterThanOrEqual(10);
  });

  it.each(invariants.map((invariant) => [invariant.number, invariant] as const))(
    'says where invariant %i is enforced, and a check that says the same of itself',
    (number, { enforcedIn, checkedBy }) => {
      const files = enforcedIn.filter((text) => text.includes('/') || text.endsWith('.ts'));
      expect(files.length).toBeGreaterThan(0);
      for (const file of files) expect(existsSync(`${root}src/${file}`), `src/${file}`).toBe(true);
      expect(checkedBy.length).toBeGreaterThan(0);
      for (const check of checkedBy) expect(heldBy(check), check).toContain(number);
    },
  );

  it('knows every test that claims to hold one', () => {
    for (const path of globSync('test/**/*.test.ts', { cwd: root })) {
      const claimed = heldBy(path);
      const listed = invariants
        .filter(({ checkedBy }) => checkedBy.includes(path))
        .map(({ number }) => number);
      expect(claimed, path).toEqual(listed);
    }
  });

  it('has every invariant of the models under one of its numbers', () => {
    const numbers = [
      'src/model/invariants.ts',
      'src/model/shared-invariants.ts',
      'src/model/lease-invariants.ts',
    ].flatMap((path) => [...read(path).matchAll(/number: (\d+)/g)].map(([, number]) => Number(number)));
    expect(numbers.length).toBeGreaterThan(0);
    for (const number of numbers)
      expect(invariants.some((invariant) => invariant.number === number)).toBe(true);
  });
});
