import { createDuplicator, type SftLayout, stackRows } from '@meap/sft-duplication';
import { expect, it } from 'vitest';
import { batchOf } from './objective.ts';
import { shownRows } from './shown-rows.ts';

const MASK = 99;
const prompt = [1, 2, 3];
const answer = Array.from({ length: 20 }, (_, i) => 10 + i);
const sample = {
  segments: [
    { ids: prompt, role: 'user', trainable: false },
    { ids: answer, role: 'assistant', trainable: true },
  ],
};
const rowsOf = (layout: SftLayout) =>
  createDuplicator({
    layout,
    ratio: 0.2,
    threshold: 5,
    maskId: MASK,
    specialIds: [],
    maxLength: 64,
    seed: 1,
  }).duplicate(sample, { epoch: 0, index: 0 }).rows;

it('shows a conversation and its masked copy with the original tokens', () => {
  for (const layout of ['separate-rows', 'packed-isolated', 'concatenated'] as const) {
    const rows = rowsOf(layout);
    const shown = shownRows(layout === 'separate-rows' ? stackRows(rows) : batchOf(rows, 64));
    const parts = shown.flatMap((row) => [...(row.parts ?? [])].map(([at, name]) => ({ row, at, name })));
    expect(parts.map(({ name }) => name)).toEqual(['original', 'masked copy']);
    for (const [index, { row, at }] of parts.entries()) {
      const ids = Array.from(row.ids).slice(at, at + prompt.length + answer.length - 1);
      // The last token is never an input.
      expect(ids).toEqual([...prompt, ...answer.slice(0, -1)]);
      const kinds = row.kinds.slice(at, at + ids.length);
      expect(kinds.slice(0, 3)).toEqual(['prompt', 'prompt', 'prompt']);
      expect(kinds.includes('masked')).toBe(index === 1);
    }
    // All masks of the inputs are shown.
    const masks = rows.flatMap(({ inputs }) => [...inputs]).filter((id) => id === MASK).length;
    expect(masks).toBeGreaterThan(0);
    expect(shown.flatMap(({ kinds }) => kinds).filter((kind) => kind === 'masked')).toHaveLength(masks);
    expect(shown.flatMap(({ ids }) => Array.from(ids))).not.toContain(MASK);
  }
});
