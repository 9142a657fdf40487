import { createMasker } from '@meap/meap-masking';
import { expect, it } from 'vitest';
import { shownRows } from './shown-rows.ts';

it.each([
  ['masks', undefined],
  ['random tokens', [0, 1, 2]],
])('shows the %s of training over the original tokens', (_, replacementIds) => {
  const [rows, length] = [6, 40];
  const inputs = Int32Array.from({ length: rows * length }, (_, i) => i % 50);
  const options = { ratio: 0.15, maskId: 99, seed: 3 };
  const masker = createMasker({ ...options, replacementIds });
  const batch = { inputs, targets: inputs, rows, length, numBytes: 0 };
  const shown = shownRows(masker, batch, { step: 7, microBatch: 2 });
  // The masks of `meapLoss` for all rows.
  const trained = createMasker(options).apply(inputs, { rows, length, step: 7, firstRow: 2 * rows }).inputs;
  expect(shown).toHaveLength(4);
  shown.forEach(({ ids, kinds }, row) => {
    expect(ids).toEqual(inputs.slice(row * length, (row + 1) * length));
    const masks = Array.from(trained.subarray(row * length, (row + 1) * length), (id) => id === 99);
    expect(kinds.map((kind) => kind === 'masked')).toEqual(masks);
    expect(masks.filter(Boolean)).toHaveLength(6);
  });
});
