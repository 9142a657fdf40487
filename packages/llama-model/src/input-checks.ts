/** The options of a forward pass, and checks of its inputs. */
import * as tf from '@tensorflow/tfjs-core';
import type { LlamaConfig } from './config.ts';
import type { DropoutOptions } from './dropout.ts';
import { AdapterError, CheckpointError, TokenInputError } from './errors.ts';
import type { KeyValueCache } from './key-value-cache.ts';
import type { LoraAdapter } from './lora-adapter.ts';
import { parameterShapes } from './parameters.ts';

/** Options of a forward pass. */
export interface ForwardOptions {
  /** int32 `[B, T]`, each token's position; by default 0, 1, 2, … after the tokens of the cache. */
  positions?: tf.Tensor;
  /** int32 `[B, T]`; a token attends only to tokens of its own segment. Pass `positions` too if they restart. */
  segmentIds?: tf.Tensor;
  /**
   * int32 `[B, T]`, with `segmentIds`: a token also attends to the tokens of this earlier segment of the row, so that many
   * continuations share one prefix. The id of its own segment where there is none.
   */
  prefixIds?: tf.Tensor;
  /** Caches to read and extend, one for each row. Not with `segmentIds`, and not differentiable. */
  cache?: KeyValueCache | readonly KeyValueCache[];
  /** Keeps only block inputs for the backward pass, and processes rows longer than 4096 tokens in pieces; same gradients. */
  recompute?: boolean;
  /**
   * Rate and key of dropout masks. An adapter with dropout requires a key in training; false, the default without a
   * gradient, disables dropout.
   */
  dropout?: DropoutOptions | false;
  /** Factor of the z-loss, which `loss` adds: the sum over targets of (log Σ exp of the logits)²; 0 by default. */
  zLoss?: number;
  /** Called with each layer's queries and keys after rotation; they are freed unless kept. Not with a cache. */
  onAttention?: (layer: number, q_BTHD: tf.Tensor4D, k_BTGD: tf.Tensor4D) => void;
}

/** Without a key, training would silently skip dropout. */
export function requireDropout(adapter: LoraAdapter | undefined, options: ForwardOptions): void {
  if (!adapter || adapter.dropout === 0 || options.dropout !== undefined) return;
  if (tf.engine().state.gradientDepth === 0) return;
  throw new AdapterError(
    `the adapter has dropout ${adapter.dropout}, got a gradient without the option dropout, ` +
      'expected { seed, step }, or false to drop nothing',
  );
}

/** Refuses a z-loss with trained rows of a tied head, whose gradients have none. */
export function requireNoZLoss(zLoss: number): void {
  if (zLoss === 0) return;
  throw new AdapterError(
    `zLoss: got ${zLoss}, expected 0 with trained tokens of a tied head, whose gradient has no z-loss`,
  );
}

export function requireParameters(config: LlamaConfig, parameters: ReadonlyMap<string, tf.Variable>): void {
  const shapes = parameterShapes(config);
  const missing = [...shapes.keys()].filter((name) => !parameters.has(name));
  if (missing.length > 0) {
    throw new CheckpointError(`parameters missing from the model: ${missing.join(', ')}`, missing);
  }
  for (const [name, { shape }] of parameters) {
    const expected = shapes.get(name);
    if (!expected) throw new CheckpointError(`${name}: not a parameter of this model`, [name]);
    if (shape.join() !== expected.join()) {
      throw new CheckpointError(`${name}: wrong shape, got [${shape}], expected [${expected}]`, [name]);
    }
  }
}

/** Returns the caches of a forward pass, one for each row, or none. */
export function requireCaches(ids: tf.Tensor2D, options: ForwardOptions): readonly KeyValueCache[] {
  const { cache, segmentIds, prefixIds, onAttention } = options;
  if (prefixIds && !segmentIds) {
    throw new TokenInputError('hidden: prefixIds without segmentIds, got none, expected both');
  }
  if (!cache) return [];
  if (segmentIds) throw new TokenInputError('hidden: a cache and segmentIds exclude each other');
  if (onAttention) throw new TokenInputError('hidden: a cache and onAttention exclude each other');
  const caches = Array.isArray(cache) ? cache : [cache];
  const numRows = ids.shape[0];
  if (new Set(caches).size !== numRows || caches.length !== numRows) {
    throw new TokenInputError(
      `hidden: got ${caches.length} caches for ${numRows} rows, expected one for each row`,
    );
  }
  return caches;
}

/** Public methods take `tf.Tensor`, since TensorFlow.js's own ops return tensors of unknown rank. */
export function requireTokens(what: string, ids: tf.Tensor): asserts ids is tf.Tensor2D {
  if (ids.dtype !== 'int32' || ids.rank !== 2) {
    throw new TokenInputError(`${what}: got ${ids.dtype} [${ids.shape}], expected int32 [batch, tokens]`);
  }
}

export function requireIds(what: string, ids: tf.Tensor, vocabularySize: number): asserts ids is tf.Tensor2D {
  requireTokens(what, ids);
  // Batches come from the host, which still holds their values: this does not wait for the device.
  const values = ids.dataSync();
  for (let i = 0; i < values.length; i++) {
    if (values[i] >= 0 && values[i] < vocabularySize) continue;
    const [row, column] = [Math.floor(i / ids.shape[1]!), i % ids.shape[1]!];
    throw new TokenInputError(
      `${what}: id ${values[i]} at row ${row}, position ${column} is outside the vocabulary of ${vocabularySize}; ` +
        'tokenize with the model’s tokenizer or enlarge vocab_size',
    );
  }
}

export function requireSameShape(
  what: string,
  tensor: tf.Tensor,
  ids: tf.Tensor2D,
): asserts tensor is tf.Tensor2D {
  if (tensor.shape.join() !== ids.shape.join()) {
    throw new TokenInputError(
      `${what}: got shape [${tensor.shape}], expected that of the ids, [${ids.shape}]`,
    );
  }
}

export function countMask(mask: tf.Tensor, ids: tf.Tensor2D): number {
  requireSameShape('mask', mask, ids);
  let count = 0;
  for (const value of mask.dataSync()) {
    if (value !== 0 && value !== 1) throw new TokenInputError(`mask: got ${value}, expected 0 or 1`);
    count += value;
  }
  return count;
}
