/** Generated samples by step. */

import { grouped } from '../shared/format.ts';
import type { SamplesAnswer } from '../shared/protocol.ts';
import { byId, el } from './dom.ts';
import { fetchJson } from './fetch-json.ts';
import { focusedRun, state } from './state.ts';

let shown = '';
let answer: SamplesAnswer | undefined;
/** The selected step; null for the newest. */
let chosen: number | null = null;
let focus: string | undefined;

/** Fetches the samples if there are new ones, and draws them. */
export async function updateSamples(): Promise<void> {
  const run = focusedRun();
  if (run?.id !== focus) chosen = null;
  focus = run?.id;
  const key = `${run?.id} ${run?.versions.samples} ${chosen}`;
  if (key === shown || (run && state.connection !== 'live')) return;
  shown = key;
  const samples = run?.versions.samples
    ? await fetchJson<SamplesAnswer>('samples', { run: run.id, step: chosen ?? '' })
    : undefined;
  if (shown !== key) return;
  answer = samples;
  draw();
}

function draw(): void {
  const section = byId('samples');
  section.hidden = !answer || answer.rows.length === 0;
  if (!answer || answer.step === null) {
    section.replaceChildren();
    return;
  }
  const { steps, step, rows } = answer;
  const at = steps.indexOf(step);
  const hadFocus = document.activeElement?.id === 'sample-step';
  const slider = el('input', {
    type: 'range',
    id: 'sample-step',
    min: '0',
    max: String(steps.length - 1),
    value: String(at),
    'aria-label': 'Step of the samples',
    'aria-valuetext': `step ${step}`,
    oninput: () => {
      const picked = Number(slider.value);
      chosen = picked === steps.length - 1 ? null : steps[picked];
      void updateSamples();
    },
  });
  slider.hidden = steps.length < 2;
  const follows = chosen === null && steps.length > 1 ? ', the newest' : '';
  section.replaceChildren(
    el(
      'h2',
      { id: 'samples-heading' },
      'Samples ',
      el('span', { className: 'quiet' }, `step ${grouped(step)}${follows}`),
    ),
    slider,
    ...rows.map(({ prompt, text, reference }) =>
      el(
        'blockquote',
        {},
        el('span', { className: 'prompt' }, prompt),
        el('span', {}, text === '' ? '(empty)' : `${separator(prompt, text)}${text}`),
        ...(reference === undefined
          ? []
          : [el('div', { className: 'quiet' }, `The text itself goes on: ${reference}`)]),
      ),
    ),
  );
  if (hadFocus) slider.focus();
}

/** Returns a line break between a question and its answer, nothing between a text and its continuation. */
function separator(prompt: string, text: string): string {
  if (prompt === '' || /^\s/.test(text) || !/[.?!:]$/.test(prompt.trim())) return '';
  return '\n';
}
