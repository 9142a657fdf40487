import * as tf from '@tensorflow/tfjs';
import { type RopeScaling, scaledFrequency } from './rope-scaling.ts';

/** cos and sin of every rotation angle, `[positions, head_dim / 2]`. */
export interface RotaryTables {
  readonly cos: tf.Tensor2D;
  readonly sin: tf.Tensor2D;
}

/**
 * Rotation angles of positions 0 … numPositions − 1 for the rotary embedding (Su et al. 2021).
 *
 * Angles are float32 products of the position and a float32 frequency, as PyTorch computes them; cos and
 * sin are then taken in float64. In bfloat16, or with a backend's fast sine, angles near 64K would be noise.
 */
export function rotaryTables(
  numPositions: number,
  headDim: number,
  theta: number,
  scaling?: RopeScaling,
): RotaryTables {
  const half = headDim / 2;
  const cos = new Float32Array(numPositions * half);
  const sin = new Float32Array(numPositions * half);
  for (let pair = 0; pair < half; pair++) {
    const frequency = Math.fround(1 / Math.fround(theta ** ((2 * pair) / headDim)));
    const radiansPerToken = scaling ? scaledFrequency(frequency, scaling) : frequency;
    for (let position = 0; position < numPositions; position++) {
      const angle = Math.fround(position * radiansPerToken);
      cos[position * half + pair] = Math.cos(angle);
      sin[position * half + pair] = Math.sin(angle);
    }
  }
  return { cos: tf.tensor2d(cos, [numPositions, half]), sin: tf.tensor2d(sin, [numPositions, half]) };
}
