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
  const at = { rows: shown, length, step, firstRow: microBatch * rows };
  return masker.apply(original, at).positions.map((positions, row) => {
    const ids = original.subarray(row * length, (row + 1) * length);
    const kinds: ShownRow['kinds'][number][] = Array(length).fill('plain');
    for (const position of positions) kinds[position] = 'masked';
    return { ids, kinds };
  });
}
