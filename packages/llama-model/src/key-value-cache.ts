import type { SequenceCache } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';

/** One layer's keys and values: two variables with room behind what is filled. */
interface LayerCache {
  keys: tf.Variable;
  values: tf.Variable;
  length: number;
}

/** Rows a cache grows by at least, so that short texts do not grow at every step. */
const LEAST_GROWTH = 64;

/**
 * Keys and values of the tokens of one text that a model has already read, so that the next token costs one position.
 *
 * Pass it to successive calls of `hidden` or `logits`, one for each row; dispose it when done. It is written in place
 * and grows by half when full.
 */
export class KeyValueCache {
  #length = 0;
  /** Tokens of the text that is read into it, where known. */
  readonly textLength: number;
  readonly #capacity: number;
  readonly #layers: LayerCache[] = [];

  /**
   * @param options `capacity`: tokens to make room for at once, where the length to come is known; `textLength`: tokens
   *   of the text that is going to be read in pieces, which the angles of dynamic RoPE scaling depend on
   */
  constructor({ capacity = 0, textLength = 0 }: { capacity?: number; textLength?: number } = {}) {
    this.#capacity = capacity;
    this.textLength = textLength;
  }

  /** Number of positions held. */
  get length(): number {
    return this.#length;
  }

  /**
   * A layer's cache with room for `numTokens` more; they are part of it from `commit` on.
   *
   * Where it must grow, it keeps only what the next token sees through the layer's window.
   *
   * @internal
   */
  reserve(layer: number, numTokens: number, shape_GD: readonly number[], window?: number): SequenceCache {
    let cache = this.#layers[layer];
    const capacity = cache?.keys.shape[0] ?? 0;
    const held = cache?.length ?? 0;
    if (held + numTokens > capacity) {
      const kept = Math.min(held, (window ?? Number.POSITIVE_INFINITY) - 1);
      const wanted = Math.min(this.#capacity, window === undefined ? this.#capacity : 2 * window);
      const grown = kept + numTokens + Math.max(LEAST_GROWTH, Math.ceil(kept / 2));
      const room = Math.max(wanted, held === 0 ? kept + numTokens : grown);
      const move = (old: tf.Variable | undefined) => moved(old, held, kept, [room, ...shape_GD]);
      cache = { keys: move(cache?.keys), values: move(cache?.values), length: kept };
      free(this.#layers[layer]);
      this.#layers[layer] = cache;
    }
    return cache;
  }

  /** Takes in what the forward pass just added; a pass that threw before this leaves the cache as it was. */
  commit(numPositions: number): void {
    for (const layer of this.#layers) layer.length += numPositions;
    this.#length += numPositions;
  }

  /** Frees the tensors; the cache is empty and usable again. */
  dispose(): void {
    this.#layers.forEach(free);
    this.#layers.length = 0;
    this.#length = 0;
  }
}

function free(layer: LayerCache | undefined): void {
  if (layer) tf.dispose([layer.keys, layer.values]);
}

/** A variable of a shape that begins with the last `kept` of `length` filled rows of another. */
function moved(old: tf.Variable | undefined, length: number, kept: number, shape: number[]): tf.Variable {
  return tf.tidy(() => {
    const room = tf.zeros([shape[0] - kept, ...shape.slice(1)]);
    return tf.variable(old && kept > 0 ? tf.concat([old.slice([length - kept], [kept]), room]) : room, false);
  });
}
