import type { LlamaConfig, RopeScaling } from '@meap/llama-model';
import { ExtensionError } from './error.ts';

/** Base of the rotary embedding after the extension to 64K in the MEAP paper (arXiv 2502.07490, §4.1.2). */
export const MEAP_ROPE_THETA = 640_000;

/**
 * How to rescale the rotary frequencies f = θ^(−2i/D) for longer texts; s is the new context length over that of the
 * training, M.
 *
 * - `theta`: a larger base, followed by further training ("adjusted base frequency": Xiong et al. 2023, arXiv 2309.16039,
 *   §2; in the MEAP paper θ = 640,000). The default.
 * - `linear`: f / s for all pairs (position interpolation: Chen et al. 2023, arXiv 2306.15595, eq. 4).
 * - `ntk`: θ′ = θ · s^(D/(D−2)), so that the longest wavelength grows by s and the shortest is unchanged (NTK-aware: bloc97
 *   2023; Peng et al. 2023, arXiv 2309.00071, eq. 16). Written as `rope_theta`.
 * - `dynamic`: NTK-aware with the length L of the text, θ′ = θ · (s·L/M − (s − 1))^(D/(D−2)) above M tokens, unchanged up to
 *   M (emozilla 2023; ibid. §3.3 and transformers). Needs no training.
 * - `yarn`: f / s for pairs with fewer than `beta_slow` rotations in M tokens, f for pairs with more than `beta_fast`,
 *   interpolated in between; multiplies queries and keys by 0.1·ln s + 1 (ibid. eq. 21 to 24).
 * - `llama3`: f / s for wavelengths above M / `low_freq_factor`, f for those below M / `high_freq_factor`, interpolated in
 *   between (Llama 3.1; Dubey et al. 2024, arXiv 2407.21783).
 */
export type ExtensionMethod = (typeof EXTENSION_METHODS)[number];

/** All methods, the default first. */
export const EXTENSION_METHODS = ['theta', 'linear', 'ntk', 'dynamic', 'yarn', 'llama3'] as const;

/** Options of {@link extendContext}. */
export interface ExtensionOptions {
  /** New context length in tokens. */
  contextLength: number;
  /** `theta` by default. */
  method?: ExtensionMethod;
  /** The new base, with method `theta` only; {@link MEAP_ROPE_THETA} by default. */
  ropeTheta?: number;
}

/**
 * Returns the config of a model with an extended context; the weights do not change.
 *
 * Changes only `rope_theta`, `rope_scaling` and `max_position_embeddings`, keys of Hugging Face's config.json, so that
 * `transformers` computes the same. With `dynamic` the last one does not change, since transformers reads it as the
 * context of the training; the context length is then `contextLengthOf(config)` of `@meap/llama-model`.
 *
 * @throws ExtensionError for a context that is not longer, a config that is already rescaled, or an option without effect
 */
export function extendContext(config: LlamaConfig, options: ExtensionOptions): LlamaConfig {
  const { contextLength, method = 'theta', ropeTheta } = options;
  const trained = config.max_position_embeddings;
  if (!Number.isInteger(contextLength) || contextLength <= trained) {
    const expected = `a whole number above the context of ${trained}`;
    throw new ExtensionError('contextLength', contextLength, expected);
  }
  if (config.rope_scaling) {
    throw new ExtensionError(
      'config.rope_scaling',
      config.rope_scaling.rope_type,
      'none; extend the original model',
    );
  }
  if (ropeTheta !== undefined && method !== 'theta') {
    throw new ExtensionError('ropeTheta', ropeTheta, `none with method ${method}, which computes its own`);
  }
  const factor = contextLength / trained;
  if (method === 'theta') {
    const rope_theta = ropeTheta ?? MEAP_ROPE_THETA;
    if (!(rope_theta > config.rope_theta && Number.isFinite(rope_theta))) {
      throw new ExtensionError(
        'ropeTheta',
        rope_theta,
        `a number above the model’s base ${config.rope_theta}`,
      );
    }
    return extended(config, contextLength, { rope_theta });
  }
  if (method === 'ntk') {
    const rope_theta = config.rope_theta * factor ** (config.head_dim / (config.head_dim - 2));
    return extended(config, contextLength, { rope_theta });
  }
  const original_max_position_embeddings = trained;
  const scalings: Record<Exclude<ExtensionMethod, 'theta' | 'ntk'>, RopeScaling> = {
    linear: { rope_type: 'linear', factor },
    dynamic: { rope_type: 'dynamic', factor },
    yarn: { rope_type: 'yarn', factor, original_max_position_embeddings },
    // The values of Llama 3.1.
    llama3: {
      rope_type: 'llama3',
      factor,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings,
    },
  };
  if (!Object.hasOwn(scalings, method)) {
    throw new ExtensionError('method', method, `one of ${EXTENSION_METHODS.join(', ')}`);
  }
  return extended(config, method === 'dynamic' ? trained : contextLength, { rope_scaling: scalings[method] });
}

function extended(
  config: LlamaConfig,
  max_position_embeddings: number,
  rope: Pick<Partial<LlamaConfig>, 'rope_theta' | 'rope_scaling'>,
): LlamaConfig {
  return Object.freeze({ ...config, max_position_embeddings, ...rope });
}
