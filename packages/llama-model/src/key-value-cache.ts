import { compilesShapes, type SequenceCache } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';

/** Keys and values of one layer: two variables with spare capacity. */
interface LayerCache {
  keys: tf.Variable;
  values: tf.Variable;
  length: number;
}

/** Minimum number of rows that a cache grows by. */
const MIN_GROWTH = 64;

/** A backend that compiles gets caches of a multiple of these rows. */
const COMPILED_ROWS = 256;

/**
 * Keys and values of the processed tokens of one text, so that the next token costs one position.
 *
 * Pass one for each row to successive calls of `hidden` or `logits`; dispose it afterwards. It is written in place and
 * grows by half when full.
 */
export class KeyValueCache {
  #length = 0;
  /** Number of tokens of the text, if known. */
  readonly textLength: number;
  readonly #capacity: number;
  readonly #layers: LayerCache[] = [];

  /**
   * @param options `capacity`: tokens to allocate at once; `textLength`: tokens of the whole text, for dynamic RoPE scaling
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
   * Returns a layer's cache with capacity for `numTokens` more, which `commit` adds. A cache that grows keeps only the
   * tokens within the layer's window.
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
      const grown = kept + numTokens + Math.max(MIN_GROWTH, Math.ceil(kept / 2));
      const needed = Math.max(wanted, held === 0 ? kept + numTokens : grown);
      const room = compilesShapes() ? Math.ceil(needed / COMPILED_ROWS) * COMPILED_ROWS : needed;
      const move = (old: tf.Variable | undefined) => moved(old, held, kept, [room, ...shape_GD]);
      cache = { keys: move(cache?.keys), values: move(cache?.values), length: kept };
      free(this.#layers[layer]);
      this.#layers[layer] = cache;
    }
    return cache;
  }

  /** Adds the positions of a forward pass; a pass that failed leaves the cache unchanged. */
  commit(numPositions: number): void {
    for (const layer of this.#layers) layer.length += numPositions;
    this.#length += numPositions;
  }

  /** Frees the tensors; the cache is empty and can be used again. */
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
