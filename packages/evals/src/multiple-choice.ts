/**
 * Multiple choice by log-likelihood: the model chooses the most probable choice.
 *
 * A task is a prompt with named fields and a reader of rows. Prompts, ids and scores are those of lm-evaluation-harness
 * 0.4.13's `multiple_choice` (`lm_eval/api/task.py`).
 */
import { f1, matthewsCorrelation, mean } from './aggregation.ts';
import { type EncodingOptions, scorePairs } from './encode-pair.ts';
import { EvalsError } from './error.ts';
import type { Score } from './language-model.ts';
import { type PromptLayout, type PromptOptions, promptsOf } from './prompt-turns.ts';
import { numCharacters } from './python-text.ts';
import { type RowReader, readRow } from './row-reader.ts';
import type { Aggregation, Measured, SampleLog, Task, TaskGroup, TaskItem } from './task.ts';

/** A row of a multiple-choice task. */
export interface Question {
  /** Values of the fields in braces of prompt and target. */
  readonly fields: Readonly<Record<string, string>>;
  readonly choices: readonly string[];
  /** Index of the right choice, or of several. */
  readonly gold: number | readonly number[];
  /** What logs show as the right answer; default `gold`. */
  readonly target?: unknown;
}

/**
 * Score of choices: log-likelihood (`acc`), or log-likelihood divided by the choice's characters (`acc_norm`) or UTF-8
 * bytes (`acc_bytes`), without leading white space. The first of equal choices wins. `exact_match` is 1 if greedy decoding
 * gives the right choice; `f1` (of two choices) and `mcc` compare all choices with the right ones by `acc`.
 */
export type ChoiceMetric = 'acc' | 'acc_norm' | 'acc_bytes' | 'exact_match' | 'f1' | 'mcc';

/** A multiple-choice task without rows. */
export interface MultipleChoice extends PromptLayout {
  readonly version: number;
  readonly metrics: readonly ChoiceMetric[];
  /** Context, with fields in braces: `Question: {question}\nAnswer:`. */
  readonly prompt: string;
  /** The scored text after the delimiter; default `{choice}`. `{choice}` is each choice in turn, here or in the prompt. */
  readonly target?: string;
  /**
   * What several right choices of a row mean: `acc` is the share of the probability of all choices that they have, as in
   * TruthfulQA's mc2 (`mass`, the default), or each of them is right (`any`).
   */
  readonly severalGold?: 'mass' | 'any';
  /** Groups of tasks that this one belongs to, the largest first. */
  readonly memberOf?: readonly TaskGroup[];
  /** Reads a question from a row. */
  readonly read: (row: RowReader) => Question;
}

/** How the rows of a task become prompts and ids. */
export interface HarnessOptions extends EncodingOptions, PromptOptions {}

/**
 * A task of rows in any form that `definition.read` supports, such as the data set's records or rendered ones.
 *
 * @throws EvalsError for more examples than there are rows for; from `items` for a row of another shape, naming row and
 *   field, and for a model without chat template if prompts need one
 */
export function multipleChoiceTask(
  definition: MultipleChoice,
  rows: readonly unknown[],
  options: HarnessOptions = {},
): Task {
  const {
    name,
    version,
    metrics,
    prompt,
    target = '{choice}',
    severalGold = 'mass',
    memberOf,
    read,
  } = definition;
  const { bos = false } = options;
  const prompts = promptsOf(definition, options, rows, (row, where) => {
    const { fields, choices, gold, target: shown } = readQuestion(read, where, row);
    const values = { ...fields, choice: choices[[gold].flat()[0]] };
    const answer = fill(target, values);
    // The number of a choice is an answer, also of an empty one; an empty text is none.
    const isNumber = !prompt.includes('{choice}') && typeof shown !== 'string';
    return { question: fill(prompt, values), answer, isAnswered: isNumber || answer !== '' };
  });
  return {
    name,
    version,
    metrics: metrics.map((metric) => ({
      name: metric,
      higherIsBetter: true,
      aggregation: aggregationOf(metric),
    })),
    config: {
      output_type: 'multiple_choice',
      doc_to_text: prompt,
      doc_to_target: target,
      ...prompts.config,
      bos,
    },
    ...(memberOf && { memberOf }),
    numItems: rows.length,
    *items(model): Iterable<TaskItem> {
      const next = prompts.start(model);
      for (const [index, row] of rows.entries()) {
        const {
          fields,
          choices,
          gold,
          target: shown = gold,
        } = readQuestion(read, `${name}, row ${index}`, row);
        const promptOf = next(row);
        // One text for all choices: with examples it is long.
        const shared = prompt.includes('{choice}') ? undefined : promptOf(fill(prompt, fields));
        const pairs = choices.map((choice): [string, string] => [
          shared ?? promptOf(fill(prompt, { ...fields, choice })),
          prompts.delimiter + fill(target, { ...fields, choice }),
        ]);
        yield {
          id: String(index),
          chance: [gold].flat().length / choices.length,
          shown: { pairs, gold },
          log: (answers) => [logOfScores(row, shown, pairs, answers as readonly Score[])],
          ask: scorePairs(model, pairs, { bos, isChat: options.applyChatTemplate }),
          measure: (answers) =>
            typeof gold === 'number' || severalGold === 'any'
              ? measureChoices(metrics, choices, [gold].flat(), answers as readonly Score[])
              : { acc: { value: massOf(gold, answers as readonly Score[]) } },
        };
      }
    },
  };
}

/** A row with the scores of its requests. */
export function logOfScores(
  doc: unknown,
  target: unknown,
  pairs: readonly (readonly [string, string])[],
  scores: readonly Score[],
): SampleLog {
  const filteredResps = scores.map(({ logLikelihood, isGreedy }) => [logLikelihood, isGreedy]);
  return {
    filter: 'none',
    doc,
    target,
    arguments: pairs,
    resps: filteredResps.map((one) => [one]),
    filteredResps,
  };
}

function readQuestion(read: MultipleChoice['read'], where: string, row: unknown): Question {
  const question = read(readRow(where, row));
  const last = Math.max(...[question.gold].flat());
  const count = question.choices.length;
  if (last < count) return question;
  throw new EvalsError(
    `${where}: the right choice is number ${last + 1}, expected one of the ${count} choices`,
  );
}

/** Share of the probability of all choices that some of them have. */
function massOf(gold: readonly number[], scores: readonly Score[]): number {
  const masses = scores.map(({ logLikelihood }) => Math.exp(logLikelihood));
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  return sum(gold.map((index) => masses[index] / sum(masses)));
}

/** Replaces the fields in braces; braces in the value of a field stay. */
function fill(template: string, fields: Readonly<Record<string, string>>): string {
  return template.replace(/\{(\w+)\}/g, (_, field: string) => fields[field]);
}

function aggregationOf(metric: ChoiceMetric): Aggregation {
  return metric === 'f1' ? f1 : metric === 'mcc' ? matthewsCorrelation : mean;
}

function measureChoices(
  metrics: readonly ChoiceMetric[],
  choices: readonly string[],
  gold: readonly number[],
  scores: readonly Score[],
): Record<string, Measured> {
  const best = (lengthOf: (choice: string) => number) => {
    const values = scores.map(({ logLikelihood }, i) => logLikelihood / lengthOf(choices[i]));
    return values.indexOf(Math.max(...values));
  };
  const right = (index: number) => ({ value: gold.includes(index) ? 1 : 0 });
  const measures: Record<ChoiceMetric, () => Measured> = {
    acc: () => right(best(() => 1)),
    acc_norm: () => right(best(numCharacters)),
    acc_bytes: () => right(best((choice) => new TextEncoder().encode(choice).length)),
    exact_match: () => ({ value: gold.some((index) => scores[index].isGreedy) ? 1 : 0 }),
    f1: () => ({ value: gold[0], weight: best(() => 1) }),
    mcc: () => ({ value: gold[0], weight: best(() => 1) }),
  };
  return Object.fromEntries(metrics.map((metric) => [metric, measures[metric]()]));
}
