import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { peakRssBytes } from '../../src/domain/peak-memory.ts';

const MB = 2 ** 20;
const module = new URL('../../src/domain/peak-memory.ts', import.meta.url);

it('is what this process has held, and stays when it is given back', () => {
  const before = process.memoryUsage.rss();
  expect(peakRssBytes()).toBeGreaterThan(before / 2);
  const held = Buffer.alloc(200 * MB, 1);
  expect(peakRssBytes()).toBeGreaterThan(held.length);
});

it.runIf(process.platform === 'linux')('is none of the memory of the process that has started it', () => {
  const held = Buffer.alloc(400 * MB, 1);
  const script = `import(${JSON.stringify(module.href)}).then(({ peakRssBytes }) => console.log(peakRssBytes()))`;
  const told = Number(execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' }));
  expect(told).toBeGreaterThan(10 * MB);
  expect(told).toBeLessThan(held.length / 2);
});
