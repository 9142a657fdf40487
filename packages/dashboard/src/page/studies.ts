/** The matrix of each study: arms as rows, seeds as columns; a cell shows or hides its run. */
import type { StudyCell, StudySummary } from '../shared/protocol.ts';
import { byId, el } from './dom.ts';
import { lineStyle } from './palette.ts';
import { slotOf, state, toggle } from './state.ts';

let drawn = '';
let onChoice = () => {};

export function initStudies(onChange: () => void): void {
  onChoice = onChange;
}

export function updateStudies(): void {
  const studies = state.list?.studies ?? [];
  const views = studies.map((study) => study.cells.map(viewOf));
  const key = JSON.stringify([studies, views]);
  if (key === drawn) return;
  drawn = key;
  const section = byId('studies');
  const focused = section.querySelector(':focus')?.getAttribute('aria-label');
  section.hidden = studies.length === 0;
  section.replaceChildren(...studies.flatMap((study, i) => draw(study, views[i])));
  // Drawing again removes the focus.
  for (const button of section.querySelectorAll('button')) {
    if (focused && button.getAttribute('aria-label') === focused) button.focus();
  }
}

interface View {
  text: string;
  kind: string;
  /** The run of its last step that has begun. */
  run: string | undefined;
  color: string;
}

function viewOf({ end, runs: ids }: StudyCell): View {
  const runs = ids.flatMap((id) => state.runs.get(id) ?? []).sort((a, b) => a.changedAt - b.changedAt);
  const running = runs.find((run) => run.state === 'running');
  const run = running ?? runs.at(-1);
  const isShown = run !== undefined && state.selected?.includes(run.id) === true;
  const color = isShown ? lineStyle(slotOf(run.id)).color : '';
  const view = (text: string, kind = text) => ({ text, kind, run: run?.id, color });
  if (end) return view(end);
  if (running) {
    const { step, totalSteps } = running;
    return view(totalSteps ? `${Math.floor((100 * step) / totalSteps)} %` : 'running', 'running');
  }
  return view(run ? 'stopped' : 'waiting');
}

function draw({ name, title, cells }: StudySummary, views: readonly View[]): Node[] {
  const arms = [...new Set(cells.map(({ arm }) => arm))];
  const seeds = [...new Set(cells.map(({ seed }) => seed))].sort((a, b) => a - b);
  const rows = arms.map((arm) => {
    const row = seeds.map((seed) => {
      const index = cells.findIndex((cell) => cell.arm === arm && cell.seed === seed);
      return el('td', {}, ...(index < 0 ? [] : [drawCell(cells[index], views[index])]));
    });
    return el('tr', {}, el('th', { scope: 'row' }, arm), ...row);
  });
  const head = seeds.map((seed) => el('th', { scope: 'col' }, String(seed)));
  const table = el(
    'table',
    { className: 'matrix' },
    el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'seed'), ...head)),
    el('tbody', {}, ...rows),
  );
  const numDone = cells.filter(({ end }) => end === 'done').length;
  const count = el('span', { className: 'quiet' }, ` ${name}, ${numDone} of ${cells.length} runs done`);
  return [
    el('h2', {}, title, count),
    el('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': title }, table),
  ];
}

function drawCell({ arm, seed }: StudyCell, { text, kind, run, color }: View): HTMLElement {
  if (run === undefined) return el('span', { className: kind }, text);
  const isShown = color !== '';
  const button = el(
    'button',
    {
      type: 'button',
      className: `cell ${kind}`,
      'aria-pressed': isShown,
      'aria-label': `${arm}, seed ${seed}: ${text}`,
      onclick: () => {
        toggle(run, !isShown);
        onChoice();
      },
    },
    text,
  );
  button.style.borderColor = color;
  return button;
}
