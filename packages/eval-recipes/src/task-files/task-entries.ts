/** Tasks of files: a YAML of lm-evaluation-harness, with its groups, or ready rows. */
import { readdirSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { configuredTask, multipleChoiceTask, renderedMultipleChoice, type TaskGroup } from '@meap/evals';
import { ConfigurationError } from '@meap/recipe-cli';
import { RowTemplate } from '@meap/token-dataset';
import { z } from 'zod';
import { readRows } from '../tasks/read-data.ts';
import type { TaskEntry } from '../tasks/task-family.ts';
import { parseKeys, readTaskYaml, type TaskYaml } from './read-task-yaml.ts';
import { rowsOfSplit } from './task-rows.ts';
import { readTask } from './task-schema.ts';

/** Names of tasks that are paths: YAML, or rows. */
export const TASK_FILE = /\.(ya?ml|(csv|jsonl?|parquet)(\.(gz|zst))?)$/i;

/** A task and its name. */
export type NamedEntry = TaskEntry & { readonly name: string; readonly family: string };

/** Finds a built-in task by name, for groups that name one. */
type FindTask = (name: string) => NamedEntry | undefined;

const aggregate = z.strictObject({
  metric: z.string('a metric'),
  aggregation: z.literal('mean', 'mean').default('mean'),
  weight_by_size: z.boolean('true or false').default(true),
  filter_list: z
    .union([z.string().transform((one) => [one]), z.array(z.string())], 'names of filters')
    .optional(),
});

const group = z.strictObject({
  group: z.string('a name'),
  group_alias: z.unknown().optional(),
  task: z.union([z.string().transform((one) => [one]), z.array(z.unknown())], 'a list of tasks'),
  aggregate_metric_list: z
    .union([aggregate.transform((one) => [one]), z.array(aggregate)], 'a list of metrics')
    .default([]),
  metadata: z.unknown().optional(),
});

/**
 * The tasks of a file.
 *
 * The members of a group are tasks, groups and tags of YAML files in its folder and the folders below, or built-in tasks.
 *
 * @throws ConfigurationError with file and key of every problem
 */
export function taskEntriesOf(file: string, findTask: FindTask): NamedEntry[] {
  if (!/\.ya?ml$/i.test(file)) return [readyRows(file)];
  const yaml = readTaskYaml(file);
  return isGroup(yaml) ? new Groups(file, findTask).entries(file, yaml, []) : [taskEntry(file, yaml, [])];
}

const isGroup = ({ group, task }: TaskYaml) => group !== undefined && typeof task !== 'string';

function readyRows(file: string): NamedEntry {
  let name = basename(file);
  while (extname(name) !== '') name = basename(name, extname(name));
  return {
    name,
    family: 'task_files',
    description: `rows of ${file}`,
    data: [],
    prompts: { examples: 'rows' },
    make: async ({ bos, prompts }) =>
      multipleChoiceTask(renderedMultipleChoice(name), await readRows([file]), { bos, ...prompts }),
  };
}

function taskEntry(file: string, yaml: TaskYaml, memberOf: readonly TaskGroup[]): NamedEntry {
  const task = readTask(file, yaml);
  const { configuration, split, examples } = task;
  const templates = new Map<string, RowTemplate>();
  const render = (source: string, row: Readonly<Record<string, unknown>>) => {
    const template = templates.get(source) ?? new RowTemplate(source, `${file}: ${JSON.stringify(source)}`);
    templates.set(source, template);
    return template.render(row);
  };
  return {
    name: configuration.task,
    family: 'task_files',
    description: `task of ${file}`,
    data: [],
    prompts: configuration.examples ? { examples: 'rows' } : {},
    make: async (sources) => {
      const { bos, seed, prompts } = sources;
      const { numFewshot = configuration.examples?.numFewshot ?? 0 } = prompts ?? {};
      const rows = await rowsOfSplit(task, split, sources);
      const fewshotRows =
        numFewshot === 0
          ? undefined
          : 'rows' in examples
            ? examples.rows
            : examples.split === split
              ? rows
              : await rowsOfSplit(task, examples.split, sources);
      return configuredTask({ ...configuration, memberOf }, rows, {
        ...prompts,
        bos,
        seed,
        render,
        fewshotRows,
      });
    },
  };
}

/** Tasks, groups and tags of the files in a folder. */
class Groups {
  readonly #files = new Map<string, { file: string; yaml: TaskYaml }>();
  readonly #tags = new Map<string, string[]>();
  readonly #findTask: FindTask;

  constructor(file: string, findTask: FindTask) {
    this.#findTask = findTask;
    const folder = dirname(file);
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
    for (const name of names) {
      if (!/\.ya?ml$/i.test(name)) continue;
      const path = join(folder, name);
      let yaml: TaskYaml;
      try {
        yaml = readTaskYaml(path);
      } catch {
        // A file that is no task; one that a group names is missed there.
        continue;
      }
      const own = isGroup(yaml) ? yaml.group : yaml.task;
      if (typeof own !== 'string') continue;
      this.#files.set(own, { file: path, yaml });
      for (const tag of [yaml.tag ?? []].flat()) {
        this.#tags.set(String(tag), [...(this.#tags.get(String(tag)) ?? []), own]);
      }
    }
  }

  /** The tasks of a group, with the groups around it. */
  entries(file: string, yaml: TaskYaml, around: readonly TaskGroup[]): NamedEntry[] {
    const keys = ['group', 'group_alias', 'task', 'aggregate_metric_list', 'metadata'];
    const own = Object.entries(yaml).filter(([key]) => keys.includes(key));
    // All other keys are of the tasks.
    const overrides = Object.fromEntries(Object.entries(yaml).filter(([key]) => !keys.includes(key)));
    const { group: name, task, ...parsed } = parseKeys(group, file, Object.fromEntries(own));
    if (around.some((one) => one.name === name)) {
      throw new ConfigurationError([`${file}: group: ${name} contains itself, expected other members`]);
    }
    const weights = parsed.aggregate_metric_list.map(({ weight_by_size }) => weight_by_size);
    if (new Set(weights).size > 1) {
      throw new ConfigurationError([
        `${file}: aggregate_metric_list: got several values of weight_by_size, expected one for all metrics`,
      ]);
    }
    const groups = [
      ...around,
      {
        name,
        version: Number((parsed.metadata as { version?: unknown } | undefined)?.version) || 0,
        metrics: parsed.aggregate_metric_list.flatMap(
          ({ metric, filter_list }) => filter_list?.map((filter) => `${metric},${filter}`) ?? [metric],
        ),
        weightBySize: weights[0] ?? true,
      },
    ];
    return task.flatMap((member, i) => this.#member(file, `task.${i}`, member, overrides, groups));
  }

  #member(
    file: string,
    key: string,
    member: unknown,
    overrides: TaskYaml,
    groups: readonly TaskGroup[],
  ): NamedEntry[] {
    if (member !== null && typeof member === 'object') {
      const own = member as TaskYaml;
      if (isGroup(own) && own.task !== undefined) return this.entries(file, { ...overrides, ...own }, groups);
      const { task, group, ...others } = own;
      return this.#member(file, key, task ?? group, { ...overrides, ...others }, groups);
    }
    const name = String(member);
    const tagged = this.#tags.get(name);
    if (tagged) return [...tagged].sort().flatMap((one) => this.#member(file, key, one, overrides, groups));
    const found = this.#files.get(name);
    if (found === undefined) {
      const entry = this.#findTask(name);
      if (entry && Object.keys(overrides).length === 0) return [withGroups(entry, groups)];
      const expected = `a task, group or tag of a YAML file in ${dirname(file)}, or a built-in task`;
      throw new ConfigurationError([`${file}: ${key}: got ${JSON.stringify(name)}, expected ${expected}`]);
    }
    const yaml = { ...found.yaml, ...overrides };
    return isGroup(yaml) ? this.entries(found.file, yaml, groups) : [taskEntry(found.file, yaml, groups)];
  }
}

/** A built-in task as a member of groups. */
export function withGroups(entry: NamedEntry, groups: readonly TaskGroup[]): NamedEntry {
  return {
    ...entry,
    make: async (sources) =>
      [await entry.make(sources)]
        .flat()
        .map((task) => ({ ...task, memberOf: [...groups, ...(task.memberOf ?? [])] })),
  };
}
