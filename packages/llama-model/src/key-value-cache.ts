import * as tf from '@tensorflow/tfjs';

interface LayerCache {
  readonly k_BSGD: tf.Tensor4D;
  readonly v_BSGD: tf.Tensor4D;
}

/**
 * Keys and values of the tokens a model has already read, so that the next token costs one position.
 *
 * Pass it to successive calls of `hidden` or `logits`; dispose it when done. Tensors are immutable and attention
 * wants keys in one piece, so a step copies the cache once: as many bytes as attention reads in that step anyway.
 */
export class KeyValueCache {
  #length = 0;
  #layers: LayerCache[] = [];
  #pending: LayerCache[] = [];

  /** Number of positions held. */
  get length(): number {
    return this.#length;
  }

  /**
   * Keys and values of a layer with the new positions behind the old ones; part of the cache from `commit` on.
   *
   * Of the old positions only those that the first new one sees through a window are kept.
   *
   * @internal
   */
  extend(layer: number, k_BTGD: tf.Tensor4D, v_BTGD: tf.Tensor4D, window?: number): LayerCache {
    const held = this.#layers[layer];
    // What a pass that threw left behind goes first.
    free(this.#pending[layer]);
    this.#pending[layer] = {
      k_BSGD: tf.keep(join(held?.k_BSGD, k_BTGD, window)),
      v_BSGD: tf.keep(join(held?.v_BSGD, v_BTGD, window)),
    };
    return this.#pending[layer];
  }

  /** Takes in what the forward pass just added; a pass that threw before this leaves the cache as it was. */
  commit(numPositions: number): void {
    this.#layers.forEach(free);
    this.#layers = this.#pending;
    this.#pending = [];
    this.#length += numPositions;
  }

  /** Frees the tensors; the cache is empty and usable again. */
  dispose(): void {
    this.#layers.forEach(free);
    this.#pending.forEach(free);
    this.#layers = [];
    this.#pending = [];
    this.#length = 0;
  }
}

function free(layer: LayerCache | undefined): void {
  if (layer) tf.dispose([layer.k_BSGD, layer.v_BSGD]);
}

function join(old: tf.Tensor4D | undefined, fresh: tf.Tensor4D, window?: number): tf.Tensor4D {
  const length = old?.shape[1] ?? 0;
  const kept = Math.min(length, (window ?? Number.POSITIVE_INFINITY) - 1);
  if (!old || kept === 0) return fresh;
  return tf.concat([kept < length ? old.slice([0, length - kept], [-1, kept]) : old, fresh], 1);
}
