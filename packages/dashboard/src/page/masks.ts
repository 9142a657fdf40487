/** Rows of a recent batch with their masks and the masked text. */
import { grouped, percent } from '../shared/format.ts';
import type { BatchPiece, BatchRow, RecentBatch } from '../shared/protocol.ts';
import { byId, el } from './dom.ts';
import { fetchJson } from './fetch-json.ts';
import { focusedRun, state } from './state.ts';

let shown = '';
let answer: RecentBatch | null = null;
let isHidden = false;

/** Fetches the batch if there is a new one, and draws it. */
export async function updateMasks(): Promise<void> {
  const run = focusedRun();
  const key = `${run?.id} ${run?.versions.batch}`;
  if (key === shown || (run && state.connection !== 'live' && run.versions.batch !== '')) return;
  shown = key;
  const batch = run?.versions.batch ? await fetchJson<RecentBatch | null>('batch', { run: run.id }) : null;
  if (shown !== key) return;
  answer = batch ?? null;
  draw();
}

function draw(): void {
  const section = byId('masks');
  section.hidden = !answer || answer.rows.length === 0;
  if (!answer) {
    section.replaceChildren();
    return;
  }
  const { step, rows } = answer;
  const box = el('input', { type: 'checkbox', checked: isHidden });
  const list = el('div', { className: isHidden ? 'rows as-read' : 'rows' }, ...rows.map(drawRow));
  box.addEventListener('change', () => {
    isHidden = box.checked;
    list.className = isHidden ? 'rows as-read' : 'rows';
  });
  section.replaceChildren(
    el(
      'h2',
      { id: 'masks-heading' },
      'Masks of a recent batch ',
      el('span', { className: 'quiet' }, `step ${grouped(step)}`),
    ),
    el('label', { className: 'quiet' }, box, ' as the model sees it'),
    list,
  );
}

function drawRow(row: BatchRow, index: number): HTMLElement {
  const { numTokens, numMasked, pieces } = row;
  const share = numTokens > 0 ? `, ${grouped(numMasked)} masked (${percent(numMasked / numTokens)})` : '';
  const text = el('p', { className: 'row-text' });
  for (const piece of pieces) {
    if (piece.part) text.append(el('span', { className: 'part' }, piece.part));
    // Removes the leading space of the first word.
    text.append(drawPiece(text.childNodes.length === 0 ? { ...piece, text: piece.text.trimStart() } : piece));
  }
  const isCut = pieces.length > 0 && row.isCut === true;
  if (isCut) text.append(el('span', { className: 'quiet' }, ' …'));
  return el(
    'article',
    {},
    el('h3', { className: 'quiet' }, `row ${index + 1}: ${grouped(numTokens)} tokens${share}`),
    text,
  );
}

function drawPiece({ text, kind }: BatchPiece): HTMLElement | DocumentFragment | string {
  if (kind === 'masked') {
    const fragment = new DocumentFragment();
    // The space before a word belongs to its token, but is not marked.
    const [, space, word] = /^(\s*)([\s\S]*)$/.exec(text)!;
    const aside = el('span', { className: 'aside' }, 'masked: ');
    const behind = el('span', { className: 'behind' }, word || (space.includes('\n') ? '⏎' : '␣'));
    const mark = el('mark', { title: `masked: ${text}` }, aside, behind);
    fragment.append(...(word ? [space, mark] : [mark, space]));
    return fragment;
  }
  return kind === 'prompt' ? el('span', { className: 'prompt' }, text) : text;
}
