/**
 * The task families. The configuration of evaluations and probes, `meap-evaluate list`, the search for data and the titles
 * of reports are derived from this table: a new task is a file in this folder and a line here. `pnpm --dir apps/evaluate
 * run schema`, and the same for the training apps, then update the JSON Schemas of recipes.
 */
import type { z } from 'zod';
import { attention } from './attention.ts';
import { blimp } from './blimp.ts';
import { choice } from './choice.ts';
import type { DataSet } from './data-sets.ts';
import { generate_until } from './generate-until.ts';
import { hallucination } from './hallucination.ts';
import { induction } from './induction.ts';
import { key_value_recall } from './key-value-recall.ts';
import { kv_retrieval } from './kv-retrieval.ts';
import { lambada } from './lambada.ts';
import { late_minus_early } from './late-minus-early.ts';
import { longbench } from './longbench.ts';
import { m_rs } from './m-rs.ts';
import { mdqa } from './mdqa.ts';
import { mmlu } from './mmlu.ts';
import { mmlu_pro } from './mmlu-pro.ts';
import { niah } from './niah.ts';
import { perplexity } from './perplexity.ts';
import { perplexity_by_position } from './perplexity-by-position.ts';
import { ruler } from './ruler.ts';
import type { TaskEntry, TaskFamily } from './task-family.ts';
import { zero_shot } from './zero-shot.ts';

/** Families by the name of their section in a recipe, in the order of `list`. */
export const FAMILIES = {
  zero_shot,
  choice,
  mmlu,
  mmlu_pro,
  blimp,
  generate_until,
  lambada,
  perplexity,
  perplexity_by_position,
  late_minus_early,
  niah,
  mdqa,
  longbench,
  kv_retrieval,
  m_rs,
  ruler,
  induction,
  key_value_recall,
  hallucination,
  attention,
};

/** Validated settings of the families that have settings. */
export type FamilySettings = {
  [Name in keyof typeof FAMILIES as (typeof FAMILIES)[Name] extends TaskFamily<string, z.ZodObject>
    ? Name
    : never]: (typeof FAMILIES)[Name] extends TaskFamily<string, infer Schema> ? z.output<Schema> : never;
};

/** All families, without their specific types. */
export const families: readonly (readonly [name: string, TaskFamily])[] = Object.entries(
  FAMILIES as unknown as Readonly<Record<string, TaskFamily>>,
);

/** Tasks by name, with the name of their family. */
export const TASKS: ReadonlyMap<string, TaskEntry & { readonly family: string }> = new Map(
  families.flatMap(([family, { tasks }]) =>
    Object.entries(tasks).map(([name, task]) => [name, { ...task, family }] as const),
  ),
);

/** Data sets by their name in the section `data` of a recipe. */
export const DATA_SETS: ReadonlyMap<string, DataSet> = new Map(
  families.flatMap(([, { data }]) => Object.entries(data)),
);
