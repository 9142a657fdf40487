/** Keys of a recipe about the prompts of lm-evaluation-harness' tasks: examples and chat templates. */
import type { PromptOptions } from '@meap/evals';
import { flag, natural, type Refusals, text } from '@meap/recipe-cli';
import { z } from 'zod';
import { entriesOf } from './entries.ts';
import { TASKS } from './tasks/catalogue.ts';
import type { TaskEntry } from './tasks/task-family.ts';

/** A number for all tasks, or one for each by name. */
export type PerTask = number | Readonly<Record<string, number>>;

/** Values of {@link promptKeys}. */
export interface PromptKeys {
  readonly num_fewshot?: PerTask;
  readonly fewshot_seed?: PerTask;
  readonly apply_chat_template?: boolean | string;
  readonly fewshot_as_multiturn?: boolean;
  readonly system_instruction?: string;
}

const perTask = (one: z.ZodType<number>, meaning: string) =>
  z
    .union([one, z.record(z.string(), one)], 'a whole number from 0, or such numbers by task')
    .describe(meaning)
    .optional();

/** The keys, named as the flags of lm-evaluation-harness. */
export const promptKeys = () => ({
  num_fewshot: perTask(
    natural('Examples before each question.'),
    'Examples before each question, for all tasks that take any or by task: {arc_challenge: 25}; default: 0, or that of the task.',
  ),
  fewshot_seed: perTask(
    natural('A seed.'),
    'Seed with which examples are drawn, for all tasks or by task; default: 1234.',
  ),
  apply_chat_template: z
    .union([z.boolean(), z.string().min(1)], 'true, false, or the name or file of a chat template')
    .describe(
      'Whether prompts are conversations in the chat template of the model, or in that of this name or file; default: false.',
    )
    .optional(),
  fewshot_as_multiturn: flag(
    'With a chat template, whether each example is an exchange of its own; default: true.',
  ).optional(),
  system_instruction: text('Text before each prompt; with a chat template, the system message.').optional(),
});

/** Refuses keys that no task of the recipe reads. */
export function checkPromptKeys(
  keys: PromptKeys & { readonly tasks: readonly string[] },
  refusals: Refusals,
): void {
  const entries = new Map(keys.tasks.flatMap(entriesOf).map((entry) => [entry.name, entry] as const));
  const tasks = [...entries.keys()];
  const takesExamples = (name: string) =>
    (entries.get(name) ?? TASKS.get(name))?.prompts?.examples !== undefined;
  for (const key of ['num_fewshot', 'fewshot_seed'] as const) {
    const value = keys[key];
    if (typeof value === 'number') {
      if (value > 0 && tasks.length > 0 && !tasks.some(takesExamples)) {
        refusals.add(key, value, `none with ${tasks.join(', ')}, which take no examples; leave it out`);
      }
      continue;
    }
    for (const name of Object.keys(value ?? {})) {
      if (takesExamples(name)) continue;
      const names = [...new Set([...tasks, ...TASKS.keys()])].filter(takesExamples);
      refusals.add(
        `${key}.${name}`,
        value![name],
        `the name of a task that takes examples (${names.join(', ')})`,
      );
    }
  }
  const { apply_chat_template: template, fewshot_as_multiturn: multiturn } = keys;
  if (multiturn !== undefined && !template) {
    refusals.add('fewshot_as_multiturn', multiturn, 'none without apply_chat_template; set that as well');
  }
  const fixed = tasks.filter((name) => entries.get(name)!.prompts === undefined);
  for (const key of ['apply_chat_template', 'system_instruction'] as const) {
    if (!keys[key] || fixed.length === 0) continue;
    refusals.add(
      key,
      keys[key],
      `none with ${fixed.join(', ')}, whose prompts are fixed; evaluate those without it`,
    );
  }
}

/** The prompts of one task. */
export function promptOptionsOf(name: string, { prompts }: TaskEntry, keys: PromptKeys): PromptOptions {
  const numberOf = (value: PerTask | undefined) => (typeof value === 'object' ? value[name] : value);
  const { fewshot_as_multiturn: fewshotAsMultiturn, system_instruction: systemInstruction } = keys;
  const taken = prompts?.examples === undefined ? 0 : numberOf(keys.num_fewshot);
  const fewshotSeed = numberOf(keys.fewshot_seed);
  // A task of a file knows its own number.
  const count = taken ?? prompts?.numFewshot;
  return {
    ...(count !== undefined && { numFewshot: count }),
    ...(fewshotSeed !== undefined && { fewshotSeed }),
    ...(keys.apply_chat_template && { applyChatTemplate: true }),
    ...(fewshotAsMultiturn !== undefined && { fewshotAsMultiturn }),
    ...(systemInstruction !== undefined && { systemInstruction }),
  };
}
