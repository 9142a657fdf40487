/** The list of runs with selection, colours and status. */

import { grouped, plain } from '../shared/format.ts';
import { MAX_SELECTED } from '../shared/protocol.ts';
import { byId, el, setText } from './dom.ts';
import { statusOf } from './header.ts';
import { lineStyle } from './palette.ts';
import { hasSteps, type KnownRun, remember, slotOf, state, toggle } from './state.ts';

/** Maximum number of rows; the others are found with the filter. */
const MAX_LISTED = 200;

interface Row {
  element: HTMLLIElement;
  box: HTMLInputElement;
  swatch: HTMLElement;
  name: HTMLButtonElement;
  status: HTMLElement;
}

const rows = new Map<string, Row>();
const list = el('ul', {});
const filter = el('input', { type: 'search', placeholder: 'Filter', 'aria-label': 'Filter runs by name' });
const heading = el('summary', {});
const note = el('p', { className: 'quiet' });

export function initRunList(onChoice: () => void): void {
  const details = el('details', {}, heading, filter, list, note);
  // Narrow screens show the curves first.
  details.open = matchMedia('(min-width: 60rem)').matches;
  byId('runs').append(details);
  filter.addEventListener('input', updateRunList);
  list.addEventListener('change', (event) => {
    const box = event.target as HTMLInputElement;
    toggle(box.value, box.checked);
    onChoice();
  });
  list.addEventListener('click', (event) => {
    const id = (event.target as HTMLElement).closest('button')?.value;
    if (!id) return;
    if (!state.selected?.includes(id)) toggle(id, true);
    state.focus = id;
    remember();
    onChoice();
  });
}

export function updateRunList(): void {
  const wanted = filter.value.trim().toLowerCase();
  const runs = [...state.runs.values()].filter(({ name }) => name.toLowerCase().includes(wanted));
  const isShown = ({ id }: KnownRun) => state.selected?.includes(id) === true;
  runs.sort(
    (a, b) =>
      Number(isShown(b)) - Number(isShown(a)) || b.changedAt - a.changedAt || (a.name < b.name ? -1 : 1),
  );
  const listed = runs.slice(0, MAX_LISTED);
  setText(heading, `Runs (${state.runs.size})`);
  filter.hidden = state.runs.size < 8;
  const elements = listed.map((run) => updateRow(run, isShown(run)));
  // Only if the order differs, since replacing elements removes the focus.
  if (
    elements.some((element, i) => list.children[i] !== element) ||
    list.children.length !== elements.length
  ) {
    list.replaceChildren(...elements);
  }
  for (const id of rows.keys()) if (!state.runs.has(id)) rows.delete(id);
  const more = runs.length - listed.length;
  const full = (state.selected?.length ?? 0) >= MAX_SELECTED ? `At most ${MAX_SELECTED} runs are shown.` : '';
  const cut = state.list?.isCut ? 'Not all runs are listed.' : '';
  setText(note, [more > 0 ? `${more} more, use the filter.` : '', cut, full].filter(Boolean).join(' '));
  const empty = document.getElementById('empty')!;
  const text = emptyText();
  empty.hidden = text === '';
  setText(empty, text);
}

function updateRow(run: KnownRun, isShown: boolean): HTMLLIElement {
  const row = rows.get(run.id) ?? newRow(run);
  row.box.checked = isShown;
  row.box.setAttribute('aria-label', `Show ${run.name}`);
  setText(row.name, run.name);
  if (state.focus === run.id) row.name.setAttribute('aria-current', 'true');
  else row.name.removeAttribute('aria-current');
  const { color, dash } = isShown ? lineStyle(slotOf(run.id)) : { color: '', dash: undefined };
  row.swatch.style.background = dash
    ? `repeating-linear-gradient(90deg, ${color} 0 5px, transparent 5px 8px)`
    : color;
  const { text, kind } = statusOf(run);
  const loss = run.loss === null ? '' : `, loss ${plain(run.loss)}`;
  const share = run.totalSteps ? `${grouped(run.step)}/${grouped(run.totalSteps)}` : grouped(run.step);
  setText(row.status, `${text} · ${share}${loss}`);
  row.status.className = `status ${kind}`;
  return row.element;
}

function newRow({ id }: KnownRun): Row {
  const box = el('input', { type: 'checkbox', value: id });
  const swatch = el('span', { className: 'swatch' });
  const name = el('button', {
    type: 'button',
    value: id,
    className: 'name',
    title: 'Show samples and masks',
  });
  const status = el('span', { className: 'status' });
  const element = el('li', {}, el('label', {}, box, swatch), el('div', { className: 'run' }, name, status));
  const row = { element, box, swatch, name, status };
  rows.set(id, row);
  return row;
}

function emptyText(): string {
  const { list: known, runs, selected } = state;
  if (!known) return 'Connecting…';
  if (hasSteps()) return '';
  const folders = known.folders.join(', ');
  if (known.primary !== null && !runs.has(known.primary))
    return 'The run is preparing its data; curves appear with the first step.';
  if (runs.size === 0) return `No runs in ${folders} yet; they appear here when they start.`;
  if (!selected?.length) return 'Select runs to show.';
  return 'No steps yet.';
}
