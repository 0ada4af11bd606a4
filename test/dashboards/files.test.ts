import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ALERTS } from '../../scripts/dashboards/alerts.ts';
import { anchorOf, dashboardFiles } from '../../scripts/dashboards/files.ts';
import { ROWS } from '../../scripts/dashboards/panels.ts';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

describe('what is in the repository', () => {
  it.each([...dashboardFiles()])('%s is what the code says', (path, text) => {
    expect(read(path)).toBe(text);
  });

  it('is packed', () => {
    expect(JSON.parse(read('package.json'))).toMatchObject({
      files: expect.arrayContaining(['dashboards', 'docs']),
    });
  });
});

it.each(ALERTS.map((alert) => [alert.name, alert] as const))(
  '%s has a chapter in the runbook',
  (_, alert) => {
    const runbook = read('docs/alerts.md');
    expect(runbook).toContain(`## ${alert.name}\n`);
    expect(runbook).toContain(alert.action);
    expect(read('dashboards/longtail.rules.yml')).toContain(
      `runbook: longtail/docs/alerts.md#${anchorOf(alert)}`,
    );
    // One line, and a sentence or more of each kind.
    expect(alert.summary).not.toContain('\n');
    expect(alert.meaning).toMatch(/\.$/);
    expect(alert.action).toMatch(/\.$/);
  },
);

it('every metric of alerts and panels is described in docs/telemetry.md', () => {
  const texts = [
    ...ALERTS.map(({ expr }) => expr),
    ...ROWS.flatMap(({ panels }) => panels.flatMap(({ queries }) => queries.map(({ expr }) => expr))),
  ];
  const labels =
    /^longtail_(property|dataset|search_type|(run|call|slice)_outcome|(slice|worker)_state|quota_(kind|scope|window)|retry_kind)$/;
  const names = new Set(
    texts
      .flatMap((text) => [...text.matchAll(/\blongtail_\w+/g)].map(([name]) => name))
      .filter((name) => !labels.test(name)),
  );
  const described = read('docs/telemetry.md');
  for (const name of names) expect(described).toContain(`\`${name.replace(/_(bucket|sum|count)$/, '')}\``);
});
