import type { Task } from '@meap/evals';
import { ConfigurationError } from '@meap/recipe-cli';
import { entriesOf } from './entries.ts';
import { type DataSection, findData } from './find-data.ts';
import { type PromptKeys, promptOptionsOf } from './prompt-keys.ts';
import type { TaskSources } from './tasks/task-family.ts';

/** The keys of a recipe that {@link makeTasks} reads; it also has a section for every family with settings. */
export interface TaskKeys extends PromptKeys {
  readonly tasks: readonly string[];
  readonly data: DataSection;
  readonly bos?: boolean;
  readonly seed?: number;
}

/**
 * Creates tasks by name and loads their data.
 *
 * @param keys validated keys
 * @param dataPath path of the section `data` in the recipe, for messages
 * @throws ConfigurationError for data that are missing, ambiguous or damaged, or that cannot be fetched
 */
export async function makeTasks(
  keys: TaskKeys,
  more: Pick<TaskSources, 'heldOut' | 'judgements' | 'signal' | 'onDownload' | 'onFiles' | 'onEvent'> = {},
  dataPath?: string,
): Promise<Task[]> {
  const entries = keys.tasks.flatMap((name) =>
    entriesOf(name).map((entry) => ({ ...entry, options: promptOptionsOf(entry.name, entry, keys) })),
  );
  const needed = entries.filter(({ readsHeldOut }) => !(more.heldOut && readsHeldOut));
  const files = await findData(
    needed.flatMap(({ data, prompts, options }) => {
      const examples = options.numFewshot ? prompts?.examples : undefined;
      return [...data, ...(examples !== undefined && examples !== 'rows' ? [examples] : [])];
    }),
    keys,
    { path: dataPath, signal: more.signal, onDownload: more.onDownload },
  );
  for (const [name, found] of Object.entries(files)) more.onFiles?.(name, found);
  const { bos, seed } = keys;
  const sections = keys as unknown as Readonly<Record<string, unknown>>;
  const tasks: Task[] = [];
  for (const { family, make, options } of entries) {
    const { folder } = keys.data;
    const sources = { files, folder, settings: sections[family], bos, seed, prompts: options };
    tasks.push(...[await make({ ...sources, ...more })].flat());
  }
  const names = tasks.map(({ name }) => name);
  const twice = names.filter((name, i) => names.indexOf(name) < i);
  if (twice.length > 0) {
    throw new ConfigurationError([
      `tasks: got several tasks of the name ${twice[0]}, expected different names; rename one, or evaluate them separately`,
    ]);
  }
  return tasks;
}
