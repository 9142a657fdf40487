import type { LlamaConfig } from './config.ts';
import { parameterShapes } from './parameters.ts';
import { normals, randomKey } from './random.ts';

/**
 * Returns the standard deviation of an initial matrix by its Hugging Face name.
 *
 * The MEAP authors' code: N(0, 2/(5·hidden)) in variance for embeddings and linear layers, and 1/(√hidden·layers)
 * as deviation for the two matrices that write to the residual stream (attention output, SwiGLU down), so that its variance
 * does not grow with depth. With `initializer_range`, that value for all, as in transformers.
 */
export function initialDeviation(config: LlamaConfig, name: string): number {
  if (config.initializer_range !== null) return config.initializer_range;
  return /\.(o_proj|down_proj)\.weight$/.test(name)
    ? 1 / (Math.sqrt(config.hidden_size) * config.num_hidden_layers)
    : Math.sqrt(2 / (5 * config.hidden_size));
}

/**
 * Returns the initial values of a parameter: norms are 1, biases 0, matrices normally distributed.
 *
 * A function of (seed, name, shape, deviation) alone, so that each process of a sharded run computes only its own
 * parameters.
 *
 * @param name Hugging Face name, such as `model.layers.0.mlp.up_proj.weight`
 */
export function initialValues(config: LlamaConfig, name: string, seed: number): Float32Array {
  const shape = parameterShapes(config).get(name);
  if (!shape) throw new RangeError(`initialValues: no parameter of this model, got ${name}`);
  if (shape.length === 1) return new Float32Array(shape[0]).fill(name.endsWith('.bias') ? 0 : 1);
  return normals(randomKey(seed, name), shape[0] * shape[1], initialDeviation(config, name));
}
