export { bytes, counted, duration, flop, grouped, percent, plainText, short } from '@meap/dashboard';
export {
  type BatchLogOptions,
  type LoggedBatches,
  logBatches,
  MAX_ROWS,
  recentMaskedRow,
  type ShownRow,
} from './batch-log.ts';
export { captureOutput, type Outcome } from './capture-output.ts';
export {
  type CommandIo,
  commandToResume,
  EXIT,
  endProcess,
  isInteractive,
  type OutputStream,
  overridesOf,
  type RunCommandOptions,
  runCommand,
  type TrainingFlags,
  withTrainingFlags,
} from './command.ts';
export { hashFiles, readExactMetrics } from './compare-runs.ts';
export { changedFiles, type DataFile, describeRepeated, writeFileList } from './data-files.ts';
export { ConfigurationError, NotReadyError, Problems, RunError, reasonOf, userErrorTest } from './errors.ts';
export { Html, type HtmlValue, html, trusted } from './html.ts';
export { type Downloads, type FetchNamesOptions, fetchHubNames, showDownloads } from './hub-names.ts';
export { lossCurveText } from './loss-curve-text.ts';
export {
  availableMemory,
  type DecoderShape,
  describeMemory,
  describeMisfit,
  estimateMemory,
  type MemoryBudget,
  type MemoryEstimate,
  type MemoryPlan,
  planMemory,
  requireMemory,
  type StepShape,
} from './memory-plan.ts';
export {
  lossCurve,
  medianThroughput,
  type RunMetrics,
  readJsonLines,
  readLastSamples,
  readMetrics,
  type SampleLine,
} from './metrics.ts';
export { packageVersion } from './package-version.ts';
export { configToYaml, parseConfig, Refusals } from './parse-config.ts';
export { describeProbeCurves, type ProbeCurve, probeCurves } from './probe-values.ts';
export { type ProgressOutput, TrainingProgress } from './progress.ts';
export { type Layer, type RecipeRules, readRecipe } from './read-recipe.ts';
export { optimizerFloats, type RecipeOptionKeys, recipeOptions } from './recipe-options.ts';
export { inRecipeWords } from './recipe-words.ts';
export {
  type ChartSeries,
  type ReportPage,
  renderLossChart,
  renderProbes,
  renderReportPage,
  writeReportPage,
} from './report-page.ts';
export {
  changedKeys,
  finishedCheckpoint,
  openRunDirectory,
  type RunEnd,
  stoppedEarly,
} from './run-directory.ts';
export {
  countFlag,
  numberFlag,
  quantizeOption,
  type SamplingFlags,
  withSamplingFlags,
} from './sampling-flags.ts';
export {
  type BatchKeys,
  checkScheduleKeys,
  configuredSchedule,
  fillScheduleKeys,
  type ScheduleKeys,
} from './schedule-keys.ts';
export {
  count,
  flag,
  length,
  natural,
  nonNegative,
  oneOf,
  positive,
  recipeJsonSchema,
  share,
  text,
  texts,
  zeroToOne,
} from './schema-keys.ts';
export type { ShippedRecipes } from './shipped-recipes.ts';
export {
  type DistributedConfig,
  type Progress,
  type RunOptions,
  runTrainingCommand,
  type TrainingProgram,
} from './training-command.ts';
export {
  batchPlan,
  checkBatchKeys,
  checkKeepBest,
  checkMesh,
  checkOptimizerKeys,
  checkpointSection,
  distributedSection,
  fillBatchKeys,
  fillIntervals,
  fillOptimizerKeys,
  type OptimizerDefaults,
  type OptimizerKeys,
  optimizerKeys,
  runKeys,
  runSeeds,
  type SeedKeys,
  seedFingerprint,
  seedKeys,
  validationEvery,
} from './training-keys.ts';
export {
  beginRun,
  type DataNotices,
  type RunRecords,
  runTraining,
  type TrainingParts,
  type TrainingRun,
  unlessAborted,
  warnOfData,
} from './training-run.ts';
