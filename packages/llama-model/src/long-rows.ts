import { recomputeInPieces } from '@meap/tensor-kernels';
import type * as tf from '@tensorflow/tfjs';
import type { BlockContext } from './block.ts';

/** Tokens of a long row that are worked through at once with `recompute`; longer rows are long. */
export const PIECE_TOKENS = 4096;

/** Runs a part of a block that looks at one token at a time, of long rows in pieces; `prefixes` name its tensors. */
export function perToken<T extends tf.Tensor>(
  part: (rows: tf.Tensor[], context: BlockContext) => T,
  rows: tf.Tensor[],
  prefixes: string[],
  context: BlockContext,
): T {
  if (!context.keep) return part(rows, context);
  const own = [...context.tensors].filter(([name]) =>
    prefixes.some((prefix) => name.startsWith(`${prefix}.`)),
  );
  const learning = own.filter(([name]) => context.learning.has(name));
  const fixed = own.filter(([name]) => !context.learning.has(name));
  const names = [...learning, ...fixed].map(([name]) => name);
  return recomputeInPieces(
    ({ rows, tables, weights, constants, start }) =>
      part(rows, {
        ...context,
        tensors: zip(names, [...weights, ...constants]),
        rotary: tables,
        firstToken: start,
      }),
    {
      rows,
      tables: [...context.rotary],
      weights: learning.map(([, tensor]) => tensor),
      constants: fixed.map(([, tensor]) => tensor),
      length: PIECE_TOKENS,
    },
  ) as T;
}

/** Pairs names with tensors, in order; names left over are not in the map. */
export function zip(names: string[], tensors: tf.Tensor[]): Map<string, tf.Tensor> {
  return new Map(tensors.map((tensor, i) => [names[i], tensor]));
}
