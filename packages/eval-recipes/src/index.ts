export {
  type DataFiles,
  type DataSection,
  type FindDataOptions,
  findData,
  findOptionalData,
  HUB,
} from './find-data.ts';
export { makeTasks, type TaskKeys } from './make-tasks.ts';
export {
  checkProbes,
  loadProbeTasks,
  type OpenedProbes,
  type OpenProbesOptions,
  openProbes,
  type ProbeKeys,
  type ProbesConfig,
  probePaths,
  probesSection,
  type StopWhenConfig,
  stopRules,
  stopWhenSection,
} from './probes.ts';
export { checkPromptKeys, type PerTask, type PromptKeys, promptKeys } from './prompt-keys.ts';
export { hasResults, RESULTS_FILE } from './result-folder.ts';
export { sampleLines } from './sample-lines.ts';
export {
  checkTaskName,
  dataPaths,
  dataSection,
  type FamilySections,
  familySections,
} from './sections.ts';
export { TASK_FILE } from './task-files/task-entries.ts';
export { DATA_SETS, type FAMILIES, type FamilySettings, families, TASKS } from './tasks/catalogue.ts';
export type { DataSet } from './tasks/data-sets.ts';
export { type BuiltInGroup, GROUPS } from './tasks/groups.ts';
export type { Name as HallucinationTask } from './tasks/hallucination.ts';
export { HUB_DATA, type HubData, hubNameOf } from './tasks/hub-data.ts';
export { readRows, readTexts } from './tasks/read-data.ts';
export { questionLimit } from './tasks/setting-keys.ts';
export type { JudgeEvent, TaskEntry, TaskFamily, TaskSources } from './tasks/task-family.ts';
