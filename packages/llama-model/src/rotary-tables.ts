import { embedding } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import { ContextLengthError, TokenInputError } from './errors.ts';
import { requireSameShape } from './input-checks.ts';
import type { KeyValueCache } from './key-value-cache.ts';
import {
  contextLengthOf,
  type RotaryConfig,
  type RotaryFrequencies,
  rotaryFrequencies,
} from './rotary-frequencies.ts';

/** cos and sin of every rotation angle, `[positions, head_dim / 2]`. */
export interface RotaryTables {
  readonly cos: tf.Tensor2D;
  readonly sin: tf.Tensor2D;
}

/**
 * Returns cos and sin of the rotation angles of positions (Su et al. 2021).
 *
 * Angles are float32 products of a position and a float32 frequency, as in PyTorch; cos and sin are computed in float64. In
 * bfloat16, or with the fast sine of a backend, angles near 64K would be noise.
 *
 * @param positions their number, counted from 0, or a list
 */
export function rotaryTables(
  positions: number | ArrayLike<number>,
  { radiansPerToken, attentionFactor }: RotaryFrequencies,
): RotaryTables {
  const half = radiansPerToken.length;
  const numPositions = typeof positions === 'number' ? positions : positions.length;
  const cos = new Float32Array(numPositions * half);
  const sin = new Float32Array(numPositions * half);
  for (let i = 0; i < numPositions; i++) {
    const position = typeof positions === 'number' ? i : positions[i];
    for (let pair = 0; pair < half; pair++) {
      const angle = Math.fround(position * radiansPerToken[pair]);
      cos[i * half + pair] = Math.cos(angle) * attentionFactor;
      sin[i * half + pair] = Math.sin(angle) * attentionFactor;
    }
  }
  return { cos: tf.tensor2d(cos, [numPositions, half]), sin: tf.tensor2d(sin, [numPositions, half]) };
}

/** The rotation angles of a model's tokens; caches tables by number of positions. */
export class RotaryAngles {
  readonly #config: RotaryConfig;
  readonly #contextLength: number;
  // By number of positions, which with the frozen config determines a table.
  readonly #tables = new Map<number, RotaryTables>();

  constructor(config: RotaryConfig) {
    this.#config = config;
    this.#contextLength = contextLengthOf(config);
  }

  /**
   * Returns cos and sin of the tokens' positions: `[T, D/2]`, or `[B, T, D/2]` if rows differ.
   *
   * @param given int32 `[B, T]`; by default 0, 1, 2, … after the tokens of the row's cache
   * @throws TokenInputError for a negative position, ContextLengthError for one beyond the context
   */
  of(
    ids_BT: tf.Tensor2D,
    given: tf.Tensor | undefined,
    caches: readonly KeyValueCache[],
  ): [cos: tf.Tensor, sin: tf.Tensor] {
    const limit = this.#contextLength;
    const positions = given ?? cachedPositions(ids_BT, caches);
    let end = ids_BT.shape[1];
    if (positions) {
      requireSameShape('positions', positions, ids_BT);
      end = 0;
      for (const position of positions.dataSync()) {
        if (position < 0) throw new TokenInputError(`positions: negative, got ${position}`);
        end = Math.max(end, position + 1);
      }
    }
    if (end > limit) {
      throw new ContextLengthError(
        `position ${end - 1} is beyond the context of ${limit} tokens; use shorter rows`,
      );
    }
    const textLength = Math.max(end, ...caches.map((cache) => cache.textLength));
    if (
      this.#config.rope_scaling?.rope_type === 'dynamic' &&
      textLength > this.#config.max_position_embeddings
    ) {
      return this.#dynamic(ids_BT.shape, positions, caches, end);
    }
    const rows = Math.min(limit, Math.max(256, 2 ** Math.ceil(Math.log2(end))));
    let tables = this.#tables.get(rows);
    if (!tables) {
      tables = rotaryTables(rows, rotaryFrequencies(this.#config, 0));
      tf.keep(tables.cos);
      tf.keep(tables.sin);
      this.#tables.set(rows, tables);
    }
    const { cos, sin } = tables;
    // A gather that has a kernel.
    if (positions) return [embedding(positions, cos), embedding(positions, sin)];
    return [cos.slice(0, end), sin.slice(0, end)];
  }

  dispose(): void {
    for (const { cos, sin } of this.#tables.values()) tf.dispose([cos, sin]);
    this.#tables.clear();
  }

  /**
   * Angles that depend on the length of the text, computed for this call alone.
   *
   * Without caches that is the longest of the batch, as in transformers; with caches that of each row. Cached keys keep the
   * angles of the length at which they were computed, as in transformers.
   */
  #dynamic(
    [B, T]: [number, number],
    positions: tf.Tensor | undefined,
    caches: readonly KeyValueCache[],
    end: number,
  ): [cos: tf.Tensor, sin: tf.Tensor] {
    const values = positions?.dataSync();
    const rows = Array.from({ length: B }, (_, b) => {
      const held = caches[b]?.length ?? 0;
      const row = values?.subarray(b * T, (b + 1) * T) ?? Int32Array.from({ length: T }, (_, t) => held + t);
      const textLength = caches[b] ? Math.max(held + T, caches[b].textLength) : end;
      return rotaryTables(row as Int32Array, rotaryFrequencies(this.#config, textLength));
    });
    return [tf.stack(rows.map(({ cos }) => cos)), tf.stack(rows.map(({ sin }) => sin))];
  }
}

/**
 * Positions `[B, T]` after those of caches; undefined without caches. A tensor rather than the start of a slice, which a
 * compiler would take for another program at each token.
 */
function cachedPositions(ids_BT: tf.Tensor2D, caches: readonly KeyValueCache[]): tf.Tensor2D | undefined {
  if (caches.length === 0) return undefined;
  const T = ids_BT.shape[1];
  const positions = caches.flatMap(({ length }) => Array.from({ length: T }, (_, t) => length + t));
  return tf.tensor2d(positions, ids_BT.shape, 'int32');
}
