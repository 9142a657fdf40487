export {
  type CommandIo,
  commandToResume,
  EXIT,
  overridesOf,
  type RunCommandOptions,
  runCommand,
  type TrainingFlags,
  withTrainingFlags,
} from './command.ts';
export { ConfigurationError, RunError, reasonOf } from './errors.ts';
export { bytes, duration, flop, percent, plainText, short } from './format.ts';
export { lossCurveText } from './loss-curve-text.ts';
export {
  lossCurve,
  medianThroughput,
  type RunMetrics,
  readLastSamples,
  readMetrics,
  type SampleLine,
} from './metrics.ts';
export { configToYaml, parseConfig, Refusals } from './parse-config.ts';
export { type ProgressOutput, TrainingProgress } from './progress.ts';
export { type Layer, type RecipeRules, readRecipe } from './read-recipe.ts';
export {
  type ChartSeries,
  escapeHtml,
  type ReportPage,
  renderLossChart,
  renderReportPage,
  writeReportPage,
} from './report-page.ts';
export { changedKeys, finishedCheckpoint, openRunDirectory, writeConfig } from './run-directory.ts';
export {
  count,
  flag,
  natural,
  nonNegative,
  oneOf,
  positive,
  recipeJsonSchema,
  share,
  text,
  texts,
} from './schema-keys.ts';
