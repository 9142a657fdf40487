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

  /** Keys and values of a layer with the new positions behind the old ones; held from `commit` on. */
  extend(layer: number, k_BTGD: tf.Tensor4D, v_BTGD: tf.Tensor4D): LayerCache {
    const held = this.#layers[layer];
    this.#pending[layer] = held
      ? { k_BSGD: tf.concat([held.k_BSGD, k_BTGD], 1), v_BSGD: tf.concat([held.v_BSGD, v_BTGD], 1) }
      : { k_BSGD: k_BTGD, v_BSGD: v_BTGD };
    return this.#pending[layer];
  }

  /** Holds what the forward pass just added; a pass that threw before this leaves the cache as it was. */
  commit(numPositions: number): void {
    for (const layer of this.#layers) tf.dispose([layer.k_BSGD, layer.v_BSGD]);
    for (const { k_BSGD, v_BSGD } of this.#pending) {
      tf.keep(k_BSGD);
      tf.keep(v_BSGD);
    }
    this.#layers = this.#pending;
    this.#pending = [];
    this.#length += numPositions;
  }

  /** Frees the tensors; the cache is empty and usable again. */
  dispose(): void {
    for (const layer of this.#layers) tf.dispose([layer.k_BSGD, layer.v_BSGD]);
    this.#layers = [];
    this.#pending = [];
    this.#length = 0;
  }
}
