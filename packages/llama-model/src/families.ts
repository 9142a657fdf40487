import type { ConfigKeys } from './config-keys.ts';

/** Hugging Face's `model_type` of the implemented architectures. */
export type ModelType = 'llama' | 'mistral' | 'qwen2';

/** Keys of config.json with one supported value. */
type NeutralKey = 'hidden_act' | 'attention_dropout' | 'attention_bias' | 'mlp_bias' | 'use_mrope';

/** Keys of config.json that this file reads. */
export type FamilyKey = 'model_type' | 'architectures' | NeutralKey;

/** Differences between an architecture and LLaMA. */
interface Family {
  /** First entry of `architectures` in config.json. */
  readonly architecture: string;
  /** Defaults of transformers. */
  readonly defaults: { readonly max_position_embeddings: number; readonly num_key_value_heads?: number };
  /** Whether q, k and v have biases. */
  readonly queryKeyValueBias: boolean;
  /** Keys that are supported only at the value that has no effect. */
  readonly neutral: Readonly<Partial<Record<NeutralKey, unknown>>>;
}

const NEUTRAL = { hidden_act: 'silu', attention_dropout: 0 };
const WITHOUT_BIAS = { attention_bias: false, mlp_bias: false };

export const FAMILIES: Readonly<Record<ModelType, Family>> = {
  llama: {
    architecture: 'LlamaForCausalLM',
    defaults: { max_position_embeddings: 2048 },
    queryKeyValueBias: false,
    neutral: { ...NEUTRAL, ...WITHOUT_BIAS },
  },
  mistral: {
    architecture: 'MistralForCausalLM',
    defaults: { max_position_embeddings: 131_072, num_key_value_heads: 8 },
    queryKeyValueBias: false,
    neutral: { ...NEUTRAL, ...WITHOUT_BIAS },
  },
  qwen2: {
    architecture: 'Qwen2ForCausalLM',
    defaults: { max_position_embeddings: 32_768, num_key_value_heads: 32 },
    queryKeyValueBias: true,
    neutral: { ...NEUTRAL, use_mrope: false },
  },
};

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
