import type { LlamaConfig } from './config.ts';
import type { Llama3Scaling, YarnScaling } from './rope-scaling.ts';

/** Frequencies of the rotary embedding. */
export interface RotaryFrequencies {
  /** Radians per token of each pair of dimensions, `[head_dim / 2]`, rounded to float32 as in PyTorch. */
  readonly radiansPerToken: Float32Array;
  /** Factor of cos and sin, and so of every query and key; 1 except with YaRN. */
  readonly attentionFactor: number;
}

/** The keys of a config that determine its frequencies. */
export type RotaryConfig = Pick<
  LlamaConfig,
  'head_dim' | 'max_position_embeddings' | 'rope_theta' | 'rope_scaling'
>;

/** Returns the context length in tokens: `max_position_embeddings`, with dynamic scaling `factor` times that. */
export function contextLengthOf(
  config: Pick<RotaryConfig, 'max_position_embeddings' | 'rope_scaling'>,
): number {
  const { max_position_embeddings: length, rope_scaling: scaling } = config;
  return scaling?.rope_type === 'dynamic' ? Math.floor(length * scaling.factor) : length;
}

/**
 * Returns the rotary frequencies θ^(−2i/D) (Su et al. 2021, arXiv 2104.09864, eq. 15), rescaled by `rope_scaling`.
 *
 * Only those of dynamic scaling depend on the length of the text. Equal to transformers' `ROPE_INIT_FUNCTIONS` to 1e-6 of
 * each value.
 *
 * @param textLength tokens of the text; the context length by default
 */
export function rotaryFrequencies(
  config: RotaryConfig,
  textLength: number = contextLengthOf(config),
): RotaryFrequencies {
  const { head_dim, rope_theta, rope_scaling: scaling } = config;
  const theta =
    scaling?.rope_type === 'dynamic' ? dynamicTheta(config, scaling.factor, textLength) : rope_theta;
  const radiansPerToken = new Float32Array(head_dim / 2);
  for (let pair = 0; pair < head_dim / 2; pair++) {
    const frequency = Math.fround(1 / Math.fround(theta ** ((2 * pair) / head_dim)));
    if (scaling?.rope_type === 'linear') radiansPerToken[pair] = frequency / scaling.factor;
    else if (scaling?.rope_type === 'yarn')
      radiansPerToken[pair] = yarnFrequency(frequency, pair, config, scaling);
    else if (scaling?.rope_type === 'llama3') radiansPerToken[pair] = llama3Frequency(frequency, scaling);
    else radiansPerToken[pair] = frequency;
  }
  return { radiansPerToken, attentionFactor: scaling?.rope_type === 'yarn' ? temperature(scaling) : 1 };
}

/** θ·(s·L/M − (s − 1))^(D/(D−2)) for a text of L tokens above the M of the training; θ up to M. */
function dynamicTheta(
  { rope_theta, head_dim: D, max_position_embeddings: M }: RotaryConfig,
  factor: number,
  textLength: number,
): number {
  const L = Math.max(textLength, M);
  return rope_theta * ((factor * L) / M - (factor - 1)) ** (D / (D - 2));
}

/**
 * YaRN's "NTK-by-parts" (§3.2, eq. 21 and 22): (1 − γ)·f/s + γ·f, where γ rises from 0 to 1 between the pairs with
 * `beta_slow` and `beta_fast` rotations in the original context. As in the authors' code γ is linear in the index of the
 * pair, between whole indices, not in the number of rotations.
 */
function yarnFrequency(frequency: number, pair: number, config: RotaryConfig, scaling: YarnScaling): number {
  const { head_dim: D, rope_theta } = config;
  const { factor, original_max_position_embeddings: context, beta_fast = 32, beta_slow = 1 } = scaling;
  const pairTurning = (turns: number) =>
    (D * Math.log(context / (turns * 2 * Math.PI))) / (2 * Math.log(rope_theta));
  const first = Math.max(Math.floor(pairTurning(beta_fast)), 0);
  const last = Math.min(Math.ceil(pairTurning(beta_slow)), D - 1);
  const ramp = (pair - first) / (first === last ? 0.001 : last - first);
  const interpolated = Math.min(Math.max(ramp, 0), 1);
  return (frequency / factor) * interpolated + frequency * (1 - interpolated);
}

/** YaRN's √(1/t) = 0.1·ln(s) + 1 (§3.4, eq. 24), a factor of both queries and keys. */
function temperature({ attention_factor, factor }: YarnScaling): number {
  return attention_factor ?? 0.1 * Math.log(factor) + 1;
}

/**
 * Llama 3.1's rescaling ("The Llama 3 Herd of Models", Meta's `apply_scaling`): unchanged for short wavelengths, divided by
 * `factor` for long ones, interpolated in between. Rounds to float32 where transformers does.
 */
function llama3Frequency(frequency: number, scaling: Llama3Scaling): number {
  const { factor, low_freq_factor: low, high_freq_factor: high } = scaling;
  const context = scaling.original_max_position_embeddings;
  const wavelength = Math.fround((2 * Math.PI) / frequency);
  if (wavelength < context / high) return frequency;
  const divided = Math.fround(frequency / factor);
  if (wavelength > context / low) return divided;
  const smooth = Math.fround(Math.fround(Math.fround(context / wavelength) - low) / (high - low));
  return Math.fround(
    Math.fround(Math.fround(Math.fround(1 - smooth) * frequency) / factor) + Math.fround(smooth * frequency),
  );
}
