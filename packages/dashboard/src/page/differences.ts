/** The differences between the configurations of the displayed runs. */
import type { ConfigAnswer } from '../shared/protocol.ts';
import { byId, el } from './dom.ts';
import { fetchJson } from './fetch-json.ts';
import { lineStyle } from './palette.ts';
import { slotOf, state } from './state.ts';

const configs = new Map<string, { version: string; config: ConfigAnswer }>();
let drawn = '';

/** Fetches missing configurations and draws the differences. */
export async function updateDifferences(): Promise<void> {
  const runs = (state.selected ?? []).flatMap((id) => state.runs.get(id) ?? []);
  for (const { id, versions } of runs) {
    if (state.connection !== 'live' || configs.get(id)?.version === versions.config) continue;
    configs.set(id, { version: versions.config, config: configs.get(id)?.config ?? {} });
    const config = await fetchJson<ConfigAnswer>('config', { run: id });
    if (config) configs.set(id, { version: versions.config, config });
    else configs.delete(id);
  }
  draw();
}

function draw(): void {
  const section = byId('differences');
  const runs = (state.selected ?? []).flatMap((id) => {
    const config = configs.get(id)?.config;
    return config && state.runs.has(id) ? [{ id, name: state.runs.get(id)!.name, config }] : [];
  });
  const keys = [...new Set(runs.flatMap(({ config }) => Object.keys(config)))].sort();
  const differing = keys.filter((key) => new Set(runs.map(({ config }) => config[key])).size > 1);
  const key = JSON.stringify([
    runs.map(({ id, name, config }) => [id, name, differing.map((path) => config[path])]),
    differing,
  ]);
  if (key === drawn) return;
  drawn = key;
  section.hidden = runs.length < 2;
  if (runs.length < 2) {
    section.replaceChildren();
    return;
  }
  const head = runs.map(({ id, name }) => {
    const swatch = el('span', { className: 'swatch' });
    swatch.style.background = lineStyle(slotOf(id)).color;
    return el('th', { scope: 'col' }, swatch, name);
  });
  const rows = differing.map((path) =>
    el(
      'tr',
      {},
      el('th', { scope: 'row' }, path),
      ...runs.map(({ config }) => el('td', {}, config[path] ?? '–')),
    ),
  );
  const table = el(
    'table',
    {},
    el('thead', {}, el('tr', {}, el('td', {}), ...head)),
    el('tbody', {}, ...rows),
  );
  section.replaceChildren(
    el('h2', { id: 'differences-heading' }, 'Differences'),
    rows.length === 0
      ? el('p', { className: 'quiet' }, 'The configurations are the same.')
      : el('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'Differences' }, table),
  );
}
