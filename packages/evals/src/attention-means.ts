import { EvalsError } from './error.ts';
import type { CallOptions, LanguageModel } from './language-model.ts';

/**
 * The queries over which a key's attention is averaged: those that can see it, all of the sequence (shares then sum to
 * one), or only the last.
 */
export type Queries = 'causal' | 'all' | 'last';

/**
 * Attention to each key, mean over a layer's heads and the queries.
 *
 * Blocks are summed as the model returns them, so memory holds one float64 per layer and key.
 *
 * @returns a row per layer, a number per key
 * @throws EvalsError if the model has no attention, or its blocks are not a whole causal softmax
 */
export async function meanAttention(
  model: LanguageModel,
  ids: readonly number[],
  queries: Queries,
  options?: CallOptions,
): Promise<Float64Array[]> {
  if (model.attention === undefined) {
    throw new EvalsError(`${model.name}: has no attention, expected a model with the method attention`);
  }
  const layers: { sums: Float64Array; numRows: number }[] = [];
  await model.attention(
    ids,
    ({ layer, queryStart, numQueries, numKeys, probabilities }) => {
      if (numKeys !== ids.length) {
        throw new EvalsError(`${model.name}: a block of ${numKeys} keys, expected ${ids.length}, one per id`);
      }
      layers[layer] ??= { sums: new Float64Array(numKeys), numRows: 0 };
      const { sums } = layers[layer];
      layers[layer].numRows += numQueries;
      for (let row = 0; row < numQueries; row++) {
        const query = queryStart + row;
        if (queries === 'last' && query !== numKeys - 1) continue;
        for (let key = 0; key <= query; key++) sums[key] += probabilities[row * numKeys + key];
      }
    },
    options,
  );
  return layers.map(({ sums, numRows }, layer) => {
    const numHeads = numRows / ids.length;
    const rowsSummed = queries === 'last' ? numHeads : numRows;
    const mass = sums.reduce((total, value) => total + value, 0);
    if (!Number.isInteger(numHeads) || !(Math.abs(mass / rowsSummed - 1) < 1e-3)) {
      throw new EvalsError(
        `${model.name}: ${numRows} rows of layer ${layer} sum to ${mass}, expected whole heads of ${ids.length} rows ` +
          'that sum to one each; the model may contain NaN',
      );
    }
    const numQueries = (key: number) => (queries === 'causal' ? ids.length - key : rowsSummed / numHeads);
    return sums.map((sum, key) => sum / (numHeads * numQueries(key)));
  });
}

/** Mean over layers, per key. */
export function overLayers(layers: readonly Float64Array[]): Float64Array {
  return layers[0].map((_, key) => layers.reduce((sum, layer) => sum + layer[key], 0) / layers.length);
}
