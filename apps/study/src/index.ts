export { type Analysis, analyse, type Comparison, type MeasureByArm } from './analysis.ts';
export { studyCommand } from './command.ts';
export { configJsonSchema, type Measure, type StudyConfig } from './config.ts';
export { isUserError } from './errors.ts';
export type { MeasuredValue, RunResult, Series } from './measures.ts';
export { readStudy, type Study } from './study-files.ts';
