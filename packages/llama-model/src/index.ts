export { loadLlama, type SaveLlamaOptions, saveLlama } from './checkpoint.ts';
export {
  type LlamaConfig,
  type LlamaConfigInput,
  parseConfig,
  type StoredDtype,
  toHuggingFaceConfig,
} from './config.ts';
export {
  CheckpointError,
  ConfigError,
  ContextLengthError,
  GenerateOptionError,
  TokenInputError,
} from './errors.ts';
export { type GenerateOptions, generate } from './generate.ts';
export { initialDeviation, initialValues } from './initialization.ts';
export { KeyValueCache } from './key-value-cache.ts';
export { createLlama, type ForwardOptions, Llama, type LossSum } from './model.ts';
export { countParameters, flopsPerToken, parameterShapes } from './parameters.ts';
export { type PresetName, presets } from './presets.ts';
export type { SamplingOptions } from './sampling.ts';
