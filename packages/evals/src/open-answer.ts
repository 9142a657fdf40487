/**
 * Questions with a generated answer: `generate_until` of lm-evaluation-harness 0.4.13 (`lm_eval/api/task.py`,
 * `lm_eval/models/huggingface.py`).
 */
import { means } from './aggregation.ts';
import { type AnswerFilter, type ExactMatchOptions, exactMatch, filteredAnswer } from './answer-filters.ts';
import { withBos } from './encode-pair.ts';
import { EvalsError } from './error.ts';
import type { GenerateRequest, Generation } from './language-model.ts';
import type { HarnessOptions } from './multiple-choice.ts';
import { fill } from './prompt.ts';
import { type PromptLayout, promptsOf } from './prompt-turns.ts';
import { type RowReader, readRow } from './row-reader.ts';
import type { Task, TaskGroup, TaskItem, TaskModel } from './task.ts';

/** How answers are generated. */
export interface GenerationSettings {
  /** Texts that end an answer, possibly none; the model's end-of-text token always does. */
  readonly until: readonly string[];
  /** Maximum tokens of an answer; default 256. */
  readonly maxGenToks?: number;
  /** Default 0: greedy. */
  readonly temperature?: number;
  /** Answers to each question; default 1. */
  readonly repeats?: number;
}

/** A task of questions with generated answers, without rows. */
export interface OpenAnswer extends PromptLayout, GenerationSettings {
  readonly version: number;
  /** The question, with fields in braces: `Question: {question}\nAnswer:`. */
  readonly prompt: string;
  /** Reads a row: values of the fields, and all right answers, of which an example shows the first. */
  readonly read: (row: RowReader) => {
    readonly fields: Readonly<Record<string, string>>;
    readonly answers: readonly string[];
    /** What logs show as the right answer; default the answers. */
    readonly target?: unknown;
  };
  /** Reads the answer of an example; default the first right answer. */
  readonly readExample?: (row: RowReader) => string;
  /** Groups of tasks that this one belongs to, the largest first. */
  readonly memberOf?: readonly TaskGroup[];
  /** What logs show as the settings of the generation; default those that apply. */
  readonly generationKwargs?: Readonly<Record<string, unknown>>;
  /** Ways to extract an answer; each is a metric `exact_match,NAME`, that of the name `none` is `exact_match`. */
  readonly filters: readonly AnswerFilter[];
  /** What does not count when answers are compared; or other metrics. */
  readonly match: ExactMatchOptions | AnswerScore;
}

/** Metrics in place of `exact_match`, which all have the same number. */
export interface AnswerScore {
  readonly metrics: readonly string[];
  readonly score: (text: string, answers: readonly string[]) => number;
}

/** Options of {@link openAnswerTask}; settings of the generation override those of the task. */
export interface OpenAnswerOptions extends HarnessOptions, Partial<GenerationSettings> {
  /** Seed of sampled answers; default 0. */
  readonly seed?: number;
}

/**
 * A task of rows as published.
 *
 * Prompts longer than the context less `maxGenToks` lose their oldest tokens, as in the harness. BOS starts them by default
 * if the tokenizer has one, as there. Several answers to a question that the task itself does not ask for are summarized by
 * a majority vote, `exact_match,maj@N`, over the answers of the first filter.
 *
 * @throws EvalsError for an empty text in `until`, several greedy answers, or more examples than there are rows for; from `items` for a
 *   row of another shape
 */
export function openAnswerTask(
  definition: OpenAnswer,
  rows: readonly unknown[],
  options: OpenAnswerOptions = {},
): Task {
  const { name, version, prompt, match, memberOf, read, readExample } = definition;
  const settings = {
    maxGenToks: 256,
    temperature: 0,
    repeats: 1,
    ...defined(definition),
    ...defined(options),
  };
  const { until, maxGenToks, temperature, repeats } = settings;
  requireSettings(name, settings);
  const { bos = true, seed = 0 } = options;
  const [{ steps }] = definition.filters;
  const vote: AnswerFilter = { name: `maj@${repeats}`, steps: [...steps, 'majority_vote'] };
  const filters = [...definition.filters, ...(repeats > (definition.repeats ?? 1) ? [vote] : [])];
  const { metrics: names, score }: AnswerScore =
    'score' in match
      ? match
      : { metrics: ['exact_match'], score: (text, answers) => exactMatch(text, answers, match) };
  const metricsOf = ({ name: filter }: AnswerFilter) =>
    names.map((metric) => (filter === 'none' ? metric : `${metric},${filter}`));
  const { generationKwargs = { until, max_gen_toks: maxGenToks, do_sample: temperature > 0, temperature } } =
    definition;
  const prompts = promptsOf(definition, options, rows, (row, where) => {
    const reader = readRow(where, row);
    const { fields, answers } = read(reader);
    return { question: fill(prompt, fields), answer: readExample?.(reader) ?? answers[0] ?? '' };
  });
  return {
    name,
    version,
    metrics: means(filters.flatMap(metricsOf)),
    config: {
      output_type: 'generate_until',
      doc_to_text: prompt,
      ...prompts.config,
      generation_kwargs: generationKwargs,
      repeats,
      ...(temperature > 0 && { seed }),
      bos,
    },
    ...(memberOf && { memberOf }),
    numItems: rows.length,
    *items(model): Iterable<TaskItem> {
      const next = prompts.start(model);
      for (const [index, row] of rows.entries()) {
        const { fields, answers, target = answers } = read(readRow(`${name}, row ${index}`, row));
        const text = next(row)(fill(prompt, fields));
        const ids = encodePrompt(model, text, { bos, isChat: options.applyChatTemplate });
        const room = model.contextLength - maxGenToks;
        const request = (repeat: number): GenerateRequest => ({
          prompt: ids.slice(-room),
          maxNewTokens: maxGenToks,
          stop: until,
          ...(temperature > 0 && { temperature, seed: seed + index * repeats + repeat }),
        });
        yield {
          id: String(index),
          shown: { prompt: text, answers },
          ask:
            room < 1
              ? {
                  kind: 'skip',
                  reason: `answers of ${maxGenToks} tokens leave no room for a prompt, the model reads ${model.contextLength}; lower max_gen_toks`,
                }
              : { kind: 'generate', requests: Array.from({ length: repeats }, (_, i) => request(i)) },
          log: (generated) => {
            const texts = (generated as readonly Generation[]).map(({ text }) => text);
            const requests = { arguments: [[text, generationKwargs]], resps: [texts] };
            return filters.map((filter) => ({
              ...{ filter: filter.name, doc: row, target, ...requests },
              filteredResps: [filteredAnswer(filter, texts)],
            }));
          },
          measure: (generated) => {
            const texts = (generated as readonly Generation[]).map(({ text }) => text);
            const scores = filters.flatMap((filter) => {
              const value = score(filteredAnswer(filter, texts), answers);
              return metricsOf(filter).map((metric) => [metric, { value }] as const);
            });
            return Object.fromEntries(scores);
          },
        };
      }
    },
  };
}

function encodePrompt(
  { tokenizer, chat }: TaskModel,
  text: string,
  { bos, isChat }: { bos: boolean; isChat?: boolean },
): readonly number[] {
  const ids = isChat && chat ? chat.encode(text) : tokenizer.encode(text);
  return bos && tokenizer.bosId !== undefined ? withBos(tokenizer, ids) : ids;
}

function requireSettings(task: string, { until, temperature, repeats }: Required<GenerationSettings>): void {
  if (until.includes('')) {
    throw new EvalsError(
      `${task}: until is wrong, got an empty text, expected texts that end an answer; leave it out for those of the task`,
    );
  }
  if (repeats > 1 && temperature === 0) {
    throw new EvalsError(
      `${task}: repeats is ${repeats} with temperature 0, whose answers are all the same; set a temperature, such as 0.7`,
    );
  }
}

/** The generation settings that are given. */
function defined({ until, maxGenToks, temperature, repeats }: Partial<GenerationSettings>) {
  const entries = Object.entries({ until, maxGenToks, temperature, repeats });
  return Object.fromEntries(
    entries.filter(([, value]) => value !== undefined),
  ) as Partial<GenerationSettings> & Pick<GenerationSettings, 'until'>;
}
