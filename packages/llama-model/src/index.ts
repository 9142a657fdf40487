export { type AttentionBlock, attentionMaps } from './attention-maps.ts';
export { fusesBlocks } from './block-execution.ts';
export {
  type LoadLlamaOptions,
  loadLlama,
  readGenerationConfig,
  readLlamaConfig,
  type SaveLlamaOptions,
  saveLlama,
  weightBytes,
} from './checkpoint.ts';
export {
  type LlamaConfig,
  type LlamaConfigInput,
  parseConfig,
  type StoredDtype,
  toHuggingFaceConfig,
} from './config.ts';
export {
  type DecodedText,
  type DecodedToken,
  type DecodeOptions,
  Decoder,
  type DecoderOptions,
  type GenerateOptions,
  type TokenConstraint,
} from './decoder.ts';
export { type DropoutKey, type DropoutOptions, PIECE_TOKENS } from './dropout.ts';
export {
  AdapterError,
  CheckpointError,
  ConfigError,
  ContextLengthError,
  GenerateOptionError,
  TokenInputError,
} from './errors.ts';
export type { ModelType } from './families.ts';
export { generate } from './generate.ts';
export { type GrowVocabularyOptions, growVocabulary } from './grow-vocabulary.ts';
export { initialDeviation, initialValues } from './initialization.ts';
export type { ForwardOptions } from './input-checks.ts';
export { KeyValueCache } from './key-value-cache.ts';
export { addLora, mergeLora, removeLora, unmergeLora } from './lora.ts';
export {
  LEARNED_MODULES,
  type LearnedModule,
  LORA_TARGETS,
  type LoraAdapter,
  type LoraOptions,
  type LoraTarget,
} from './lora-adapter.ts';
export {
  adapterBase,
  adapterVocabularySize,
  loadAdaptedLlama,
  loadLora,
  type SaveLoraOptions,
  saveLora,
} from './lora-checkpoint.ts';
export { createLlama, Llama, type LossSum } from './model.ts';
export { countParameters, findMeshMisfit, flopsPerToken, meshAxisOf, parameterShapes } from './parameters.ts';
export { type PresetName, presets } from './presets.ts';
export { restoreWeights } from './restore-weights.ts';
export type {
  DynamicScaling,
  LinearScaling,
  Llama3Scaling,
  RopeScaling,
  YarnScaling,
} from './rope-scaling.ts';
export {
  contextLengthOf,
  type RotaryConfig,
  type RotaryFrequencies,
  rotaryFrequencies,
} from './rotary-frequencies.ts';
export type { SamplingOptions } from './sampling.ts';
export { stopIdsOf } from './stop-ids.ts';
export type { LayerType } from './windows.ts';
