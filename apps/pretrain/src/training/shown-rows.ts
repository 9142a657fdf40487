import type { Masker } from '@meap/meap-masking';
import { MAX_ROWS, type ShownRow } from '@meap/recipe-cli';
import type { Position } from '@meap/trainer';
import type { Rows } from './objective.ts';

/** Returns the first rows of a micro-batch with their masks. */
export function shownRows(
  masker: Masker,
  { inputs, rows, length }: Rows,
  { step, microBatch }: Position,
): ShownRow[] {
  const shown = Math.min(rows, MAX_ROWS);
  const original = inputs.subarray(0, shown * length);
  const masked = masker.apply(original, { rows: shown, length, step, firstRow: microBatch * rows }).inputs;
  return Array.from({ length: shown }, (_, row) => {
    const ids = original.subarray(row * length, (row + 1) * length);
    const kinds = Array.from(ids, (id, i) => (masked[row * length + i] === id ? 'plain' : 'masked'));
    return { ids, kinds };
  });
}
