/** The files of `dashboards/` and the runbook, as text. */
import { ALERTS, type Alert } from './alerts.ts';
import { type Panel, ROWS } from './panels.ts';

const WRITTEN = 'Written by scripts/dashboards.ts: change it there, then run npm run docs:dashboards.';
/** In the package. */
const RUNBOOK = 'longtail/docs/alerts.md';

/** By path, as `dashboards/longtail.rules.yml`. */
export function dashboardFiles(): ReadonlyMap<string, string> {
  return new Map([
    ['dashboards/longtail.rules.yml', rules()],
    ['dashboards/longtail.json', `${JSON.stringify(dashboard(), null, 2)}\n`],
    ['docs/alerts.md', runbook()],
  ]);
}

export const anchorOf = ({ name }: Alert): string => name.toLowerCase();

/** YAML. Strings are in JSON's form, which YAML takes. */
function rules(): string {
  const lines = ALERTS.flatMap((alert) => [
    `      - alert: ${alert.name}`,
    `        expr: ${JSON.stringify(alert.expr)}`,
    ...(alert.for === undefined ? [] : [`        for: ${alert.for}`]),
    '        labels:',
    `          severity: ${alert.severity}`,
    '        annotations:',
    `          summary: ${JSON.stringify(alert.summary)}`,
    `          description: ${JSON.stringify(alert.meaning)}`,
    `          runbook: ${RUNBOOK}#${anchorOf(alert)}`,
  ]);
  return [`# ${WRITTEN}`, 'groups:', '  - name: longtail', '    rules:', ...lines, ''].join('\n');
}

function runbook(): string {
  const chapters = ALERTS.map((alert) =>
    [
      `## ${alert.name}`,
      `\`${alert.severity}\`${alert.for === undefined ? '' : `, after ${alert.for}`}: \`${alert.expr}\``,
      alert.meaning,
      `**What to do.** ${alert.action}`,
    ].join('\n\n'),
  );
  const head = [
    `<!-- ${WRITTEN} -->`,
    '# The alerts',
    'The rules are in [`dashboards/longtail.rules.yml`](../dashboards/longtail.rules.yml), the Grafana dashboard in ' +
      '[`dashboards/longtail.json`](../dashboards/longtail.json); [telemetry.md](telemetry.md) says where the metrics come from. ' +
      '`page` means: wake somebody. `ticket`: look at it on the next working day. `info`: good to know.',
  ];
  return `${[...head, ...chapters].join('\n\n')}\n`;
}

const DATASOURCE = { type: 'prometheus', uid: '$datasource' };
const PANEL_HEIGHT = 8;
const FULL_WIDTH = 24;

function dashboard() {
  const panels: object[] = [];
  let y = 0;
  let id = 1;
  for (const row of ROWS) {
    panels.push({
      id,
      type: 'row',
      title: row.title,
      collapsed: false,
      panels: [],
      gridPos: { x: 0, y, w: FULL_WIDTH, h: 1 },
    });
    id += 1;
    y += 1;
    let x = 0;
    for (const panel of row.panels) {
      if (x + panel.width > FULL_WIDTH) {
        x = 0;
        y += PANEL_HEIGHT;
      }
      panels.push({ id, ...panelOf(panel), gridPos: { x, y, w: panel.width, h: PANEL_HEIGHT } });
      id += 1;
      x += panel.width;
    }
    y += PANEL_HEIGHT;
  }
  return {
    title: 'Longtail',
    uid: 'longtail',
    description: WRITTEN,
    tags: ['longtail', 'search-console'],
    schemaVersion: 39,
    editable: true,
    refresh: '30s',
    time: { from: 'now-6h', to: 'now' },
    templating: {
      list: [
        { name: 'datasource', type: 'datasource', query: 'prometheus', label: 'Prometheus' },
        {
          name: 'property',
          type: 'query',
          label: 'Property',
          datasource: DATASOURCE,
          query: { query: 'label_values(longtail_property)', refId: 'property' },
          refresh: 2,
          multi: true,
          includeAll: true,
          allValue: '.+',
          current: { text: 'All', value: '$__all' },
        },
      ],
    },
    panels,
  };
}

function panelOf({ title, description, type, unit, queries, red }: Panel) {
  const steps = [
    { color: 'green', value: null },
    ...(red === undefined ? [] : [{ color: 'red', value: red }]),
  ];
  return {
    type,
    title,
    ...(description === undefined ? {} : { description }),
    datasource: DATASOURCE,
    fieldConfig: { defaults: { unit, thresholds: { mode: 'absolute', steps } }, overrides: [] },
    options: type === 'stat' ? { reduceOptions: { calcs: ['lastNotNull'] } } : {},
    targets: queries.map(({ expr, legend }, index) => ({
      refId: String.fromCharCode('A'.charCodeAt(0) + index),
      datasource: DATASOURCE,
      expr,
      legendFormat: legend,
      ...(type === 'timeseries' ? {} : { instant: true }),
    })),
  };
}
