export {
  ConfigurationError,
  configToYaml,
  type MemoryEstimate,
  type RunEnd,
  RunError,
  type RunOptions,
} from '@meap/recipe-cli';
export { configJsonSchema, type PretrainConfigInput } from './config.ts';
export { type DryRunPlan, dryRun, renderDryRun } from './dry-run.ts';
export { isUserError } from './errors.ts';
export { loadConfig } from './load-config.ts';
export { type ModelOrigin, type ModelShape, type PretrainConfig, resolveConfig } from './resolve-config.ts';
export type { DataProgress } from './training/prepare-data.ts';
export { type PretrainEvent, pretrain } from './training/run.ts';
export type { RunFacts } from './training/run-facts.ts';
