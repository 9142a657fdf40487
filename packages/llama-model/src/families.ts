import type { ConfigKeys } from './config-keys.ts';

/** Hugging Face's `model_type` of the implemented architectures. */
export type ModelType = 'llama' | 'mistral' | 'qwen2' | 'qwen3' | 'smollm3' | 'olmo2';

/** Keys of config.json with one supported value. */
type NeutralKey = 'hidden_act' | 'attention_dropout' | 'attention_bias' | 'mlp_bias' | 'use_mrope';

/** Keys of config.json that this file reads. */
export type FamilyKey = 'model_type' | 'architectures' | NeutralKey;

/** Differences between an architecture and LLaMA. */
interface Family {
  /** First entry of `architectures` in config.json. */
  readonly architecture: string;
  /** Defaults of transformers. */
  readonly defaults: FamilyDefaults;
  /** Whether q, k and v have biases. */
  readonly queryKeyValueBias?: true;
  /** QK-norm: the width of the RMSNorm of queries and keys before they are rotated, one head or all of them. */
  readonly queryKeyNorm?: 'head' | 'all heads';
  /** Whether norms are applied to what attention and feed-forward layer return, instead of to their inputs. */
  readonly normsOutputs?: true;
  /** Which layers attend to a window, if there is one. */
  readonly windows: 'none' | 'unused' | 'every layer' | 'some layers';
  /** Keys that are supported only at the value that has no effect. */
  readonly neutral: Readonly<Partial<Record<NeutralKey, unknown>>>;
}

interface FamilyDefaults {
  readonly max_position_embeddings: number;
  readonly num_key_value_heads?: number;
  readonly head_dim?: number;
  readonly rope_theta?: number;
  readonly rms_norm_eps?: number;
  readonly tie_word_embeddings?: boolean;
}

const NEUTRAL = { hidden_act: 'silu', attention_dropout: 0 };
const WITHOUT_BIAS = { attention_bias: false, mlp_bias: false };

export const FAMILIES: Readonly<Record<ModelType, Family>> = {
  llama: {
    architecture: 'LlamaForCausalLM',
    defaults: { max_position_embeddings: 2048 },
    windows: 'none',
    neutral: { ...NEUTRAL, ...WITHOUT_BIAS },
  },
  mistral: {
    architecture: 'MistralForCausalLM',
    defaults: { max_position_embeddings: 131_072, num_key_value_heads: 8 },
    windows: 'every layer',
    neutral: { ...NEUTRAL, ...WITHOUT_BIAS },
  },
  qwen2: {
    architecture: 'Qwen2ForCausalLM',
    defaults: { max_position_embeddings: 32_768, num_key_value_heads: 32 },
    queryKeyValueBias: true,
    windows: 'some layers',
    neutral: { ...NEUTRAL, use_mrope: false },
  },
  qwen3: {
    architecture: 'Qwen3ForCausalLM',
    defaults: { max_position_embeddings: 32_768, num_key_value_heads: 32, head_dim: 128 },
    queryKeyNorm: 'head',
    windows: 'some layers',
    neutral: { ...NEUTRAL, attention_bias: false },
  },
  smollm3: {
    architecture: 'SmolLM3ForCausalLM',
    defaults: {
      max_position_embeddings: 32_768,
      num_key_value_heads: 4,
      rope_theta: 2_000_000,
      tie_word_embeddings: true,
    },
    windows: 'unused',
    neutral: { ...NEUTRAL, ...WITHOUT_BIAS },
  },
  olmo2: {
    architecture: 'Olmo2ForCausalLM',
    defaults: { max_position_embeddings: 2048, rms_norm_eps: 1e-5 },
    queryKeyNorm: 'all heads',
    normsOutputs: true,
    windows: 'none',
    neutral: { ...NEUTRAL, attention_bias: false },
  },
};

/** The differences of a config's architecture. */
export function familyOf({ model_type }: { readonly model_type?: ModelType }): Family {
  return FAMILIES[model_type ?? 'llama'];
}

/** Reads `model_type` and `architectures`, which must agree; without both the model is a LLaMA. */
export function takeModelType(keys: ConfigKeys<FamilyKey>): ModelType {
  const modelType = keys.take('model_type');
  const architectures = keys.take('architectures');
  const types = Object.keys(FAMILIES) as ModelType[];
  const byArchitecture = types.find(
    (type) => Array.isArray(architectures) && architectures[0] === FAMILIES[type].architecture,
  );
  if (architectures !== undefined && !byArchitecture) {
    const known = types.map((type) => `["${FAMILIES[type].architecture}"]`);
    throw keys.refusal('architectures', architectures, known.join(' or '));
  }
  const byType = types.find((type) => type === modelType);
  if (modelType !== undefined && !byType) {
    throw keys.refusal('model_type', modelType, types.map((type) => `"${type}"`).join(' or '));
  }
  if (byType && byArchitecture && byType !== byArchitecture) {
    throw keys.refusal('architectures', architectures, `["${FAMILIES[byType].architecture}"]`);
  }
  return byType ?? byArchitecture ?? 'llama';
}
