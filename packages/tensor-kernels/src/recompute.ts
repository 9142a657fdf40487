import * as tf from '@tensorflow/tfjs-core';
import { customGradient, type Keep } from './custom-gradient.ts';
import { hasKernel, runKernel } from './ops.ts';

/**
 * Runs `f` without keeping its intermediate tensors and runs it again in the backward pass (activation recomputation,
 * Chen et al. 2016): the memory of one block instead of all, for one more forward pass.
 *
 * @param f a function of its arguments alone; pass other tensors as constants, since the backward pass would not find
 *   them. Results computed through `keep` are computed once.
 * @param inputs float32 tensors or variables that gradients flow to: hidden states and weights.
 * @param constants tensors without gradient, such as positions, rotary tables or segment ids.
 * @returns the value of `f`, with the gradients of a direct call.
 */
export function recompute<T extends tf.Tensor>(
  f: (inputs: tf.Tensor[], constants: tf.Tensor[], keep: Keep) => T,
  inputs: readonly tf.Tensor[],
  constants: readonly tf.Tensor[] = [],
): T {
  return customGradient(inputs, (tensors, save) => {
    const kept: tf.Tensor[][] = [];
    const value = f(tensors, [...constants], (compute) => {
      const results = compute();
      kept.push(results.map((tensor) => tf.keep(tensor.clone())));
      return results;
    });
    save([...tensors, ...constants, ...kept.flat()]);
    const counts = kept.map(({ length }) => length);
    tf.dispose(kept);
    return {
      value,
      gradient: (dyBefore, savedBefore) => {
        const [dy, ...saved] = separated([dyBefore, ...savedBefore]);
        const held = saved.slice(inputs.length, inputs.length + constants.length);
        const results = saved.slice(inputs.length + constants.length);
        let [call, next] = [0, 0];
        const keep: Keep = () => {
          const first = next;
          next += counts[call++];
          return results.slice(first, next).map((tensor) => tensor.clone());
        };
        const gradients = gradientsOf((x) => f(x, held, keep), saved.slice(0, inputs.length), dy);
        // The engine would hold them until the backward pass ends.
        tf.dispose(savedBefore);
        return gradients;
      },
    };
  }) as T;
}

/** Inputs of {@link recomputeInPieces}: rows and tables are cut into pieces, weights and constants are not. */
export interface PiecewiseInputs {
  /** float32 `[B, T, …]` that gradients flow to. */
  rows: readonly tf.Tensor[];
  /** Tensors by token without gradient: `[T, C]` or `[B, T, C]`. */
  tables?: readonly tf.Tensor[];
  /** Weights that gradients flow to. */
  weights: readonly tf.Tensor[];
  /** Tensors without gradient. */
  constants?: readonly tf.Tensor[];
  /** Tokens of a piece. */
  length: number;
}

/** A piece of {@link PiecewiseInputs} that begins at token `start`. */
export interface Piece {
  rows: tf.Tensor[];
  tables: tf.Tensor[];
  weights: tf.Tensor[];
  constants: tf.Tensor[];
  start: number;
}

/**
 * Runs `f`, a function of each token alone, on pieces of long rows, in the forward and again in the backward pass, so that
 * the intermediate tensors of only one piece exist ("sequence tiling": Luo et al. 2024, arXiv 2407.15892).
 *
 * Exact: concatenates the gradients of the rows and adds those of the weights in the order of the pieces.
 *
 * @returns `[B, T, …]`, the value of a call on whole rows
 */
export function recomputeInPieces(f: (piece: Piece) => tf.Tensor, inputs: PiecewiseInputs): tf.Tensor {
  const { rows, weights, tables = [], constants = [], length } = inputs;
  const T = rows[0].shape[1]!;
  const starts = Array.from({ length: Math.ceil(T / length) }, (_, i) => i * length);
  return customGradient([...rows, ...weights], (learning, save) => {
    save([...learning, ...tables, ...constants]);
    const [numRows, numLearning] = [rows.length, learning.length];
    const cutRows = (tensors: tf.Tensor[], start: number) =>
      tensors.slice(0, numRows).map((row) => cut(row, 1, start, length));
    const piece = (start: number, learning: tf.Tensor[], others: tf.Tensor[]) =>
      f({
        rows: learning.slice(0, numRows),
        weights: learning.slice(numRows),
        tables: others.slice(0, tables.length).map((table) => cut(table, table.rank - 2, start, length)),
        constants: others.slice(tables.length),
        start,
      });
    const value = joined(
      starts.map((start) =>
        tf.tidy(() => {
          const inputs = [...cutRows(learning, start), ...learning.slice(numRows)];
          return piece(start, inputs, [...tables, ...constants]);
        }),
      ),
    );
    const gradient = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const others = saved.slice(numLearning);
      const ofRows: tf.Tensor[][] = rows.map(() => []);
      let ofWeights: tf.Tensor[] | undefined;
      for (const start of starts) {
        const gradients = tf.tidy(() => {
          const inputs = [...cutRows(saved, start), ...saved.slice(numRows, numLearning)];
          const [dyPiece, ...x] = separated([cut(dy, 1, start, length), ...inputs]);
          return gradientsOf((x) => piece(start, x, others), x, dyPiece);
        });
        for (const [i, list] of ofRows.entries()) list.push(gradients[i]);
        const added: tf.Tensor[] = gradients.slice(numRows);
        const sum = ofWeights?.map((earlier, i) => tf.add(earlier, added[i]));
        if (sum) tf.dispose([...ofWeights!, ...added]);
        ofWeights = sum ?? added;
      }
      tf.dispose(saved);
      return [...ofRows.map(joined), ...ofWeights!];
    };
    return { value, gradient };
  });
}

/** Keeps a compiler from merging a recomputation from these tensors with the first computation, whose results it would keep. */
function separated(tensors: tf.Tensor[]): tf.Tensor[] {
  if (!hasKernel('OptimizationBarrier')) return tensors;
  return runKernel('OptimizationBarrier', Object.fromEntries(tensors.map((tensor, i) => [`x${i}`, tensor])));
}

/** Gradients of `f` within a backward pass; restores the outer tape, which the engine drops when an inner gradient ends. */
function gradientsOf(f: (x: tf.Tensor[]) => tf.Tensor, x: tf.Tensor[], dy: tf.Tensor): tf.Tensor[] {
  const { state } = tf.engine();
  const outerTape = state.activeTape;
  try {
    return tf.grads((...x) => f(x))(x, dy);
  } finally {
    state.activeTape = outerTape;
  }
}

function cut(tensor: tf.Tensor, axis: number, start: number, length: number): tf.Tensor {
  const begin = tensor.shape.map((_, i) => (i === axis ? start : 0));
  const size = tensor.shape.map((n, i) => (i === axis ? Math.min(length, n - start) : n));
  return tf.slice(tensor, begin, size);
}

function joined(pieces: tf.Tensor[]): tf.Tensor {
  const whole = tf.concat(pieces, 1);
  tf.dispose(pieces);
  return whole;
}
