/**
 * Tasks as the configurations of lm-evaluation-harness 0.4.13 describe them, without their Python functions
 * (`ConfigurableTask` in `lm_eval/api/task.py`).
 */
import type { AnswerFilter, ExactMatchOptions } from './answer-filters.ts';
import { continuationTask } from './continuation.ts';
import { EvalsError } from './error.ts';
import type { ExampleSource } from './few-shot.ts';
import { type ChoiceMetric, multipleChoiceTask, type Question } from './multiple-choice.ts';
import { type OpenAnswerOptions, openAnswerTask } from './open-answer.ts';
import { perplexityTask } from './perplexity.ts';
import type { PromptLayout } from './prompt-turns.ts';
import { pythonLiteral } from './python-literal.ts';
import type { RowReader } from './row-reader.ts';
import type { Task, TaskGroup } from './task.ts';

/** A row of a data set. */
export type Row = Readonly<Record<string, unknown>>;

/** A field of the rows, a Jinja template, or a value for all rows. */
export type RowText = string | number | readonly string[];

/** The configuration of a task, with the keys of the harness. */
export interface TaskConfiguration {
  readonly task: string;
  readonly version: number;
  readonly output_type: 'multiple_choice' | 'generate_until' | 'loglikelihood' | 'loglikelihood_rolling';
  readonly doc_to_text: RowText;
  readonly doc_to_target: RowText;
  readonly doc_to_choice?: string | readonly string[];
  readonly description: string;
  readonly gen_prefix?: string;
  readonly target_delimiter: string;
  readonly fewshot_delimiter: string;
  /** Absent for a task that takes none. */
  readonly examples?: ExampleSource;
  /** Metrics; default those of the output type. */
  readonly metrics?: readonly { readonly name: string; readonly higherIsBetter?: boolean }[];
  readonly filters: readonly AnswerFilter[];
  readonly match: ExactMatchOptions;
  readonly until: readonly string[];
  readonly maxGenToks?: number;
  readonly temperature?: number;
  readonly repeats?: number;
  /** `generation_kwargs` as given, for logs. */
  readonly generationKwargs?: Readonly<Record<string, unknown>>;
  readonly memberOf?: readonly TaskGroup[];
}

/** Options of {@link configuredTask}. */
export interface ConfiguredTaskOptions extends OpenAnswerOptions {
  /** Renders a Jinja template with the fields of a row. */
  readonly render: (template: string, row: Row) => string;
}

/**
 * A task of a configuration over the rows of its evaluated split.
 *
 * A missing field of a row is null where other rows have it, as in a table.
 *
 * @throws EvalsError for no rows, or a row whose right answer is none of its choices; errors of `render`
 */
export function configuredTask(
  config: TaskConfiguration,
  records: readonly Row[],
  { render, ...given }: ConfiguredTaskOptions,
): Task {
  const { task: name, output_type: type, memberOf } = config;
  if (records.length === 0) throw new EvalsError(`${name}: got no rows to evaluate, expected some`);
  const rows = asTable(records);
  const options = {
    ...given,
    ...(given.fewshotRows && { fewshotRows: asTable(given.fewshotRows as Row[]) }),
  };
  const read = new RowFields(config, new Set(Object.keys(rows[0])), render);
  const layout: PromptLayout = {
    name,
    description: (row) => read.text(config.description, row as Row),
    ...(config.gen_prefix && { answerPrefix: (row) => read.text(config.gen_prefix!, row as Row) }),
    delimiter: config.target_delimiter,
    fewshotDelimiter: config.fewshot_delimiter,
    examples: config.examples,
  };
  const task = {
    multiple_choice: () => choiceTask(config, layout, read, rows, options),
    generate_until: () => {
      const { filters, match, until, maxGenToks, temperature, repeats, version, generationKwargs } = config;
      const settings = { filters, match, until, maxGenToks, temperature, repeats, version, generationKwargs };
      const readRow = ({ record, where }: RowReader) => {
        const row = record as Row;
        const fields = { question: read.question(row, where) };
        return { fields, answers: read.answers(row, where), target: read.target(row) };
      };
      const definition = { ...layout, ...settings, prompt: '{question}', read: readRow };
      return openAnswerTask(definition, rows, options);
    },
    loglikelihood: () => {
      const readRow = (record: unknown, where: string) => {
        const row = record as Row;
        return [read.question(row, where), read.answers(row, where)[0]] as const;
      };
      return continuationTask({ ...layout, version: config.version, read: readRow }, rows, options);
    },
    loglikelihood_rolling: () => {
      const texts = rows.map((row, i) => read.answers(row, `${name}, row ${i}`)[0]);
      return { ...perplexityTask(texts, { name, bos: options.bos, rows }), version: config.version };
    },
  }[type]();
  const { doc_to_text, doc_to_target, doc_to_choice, description } = config;
  const wanted = config.metrics && new Map(config.metrics.map((metric) => [metric.name, metric]));
  return {
    ...task,
    // The names of generated answers end with their filter.
    metrics: task.metrics.flatMap((metric) => {
      const given = wanted?.get(metric.name.split(',')[0]);
      return wanted && !given ? [] : [{ ...metric, ...given, name: metric.name }];
    }),
    config: {
      ...task.config,
      ...{ doc_to_text, doc_to_target, doc_to_choice },
      ...(description !== '' && { description }),
    },
    ...(memberOf && memberOf.length > 0 && { memberOf }),
  };
}

/** Rows with the fields of all rows. */
function asTable(rows: readonly Row[]): Row[] {
  const none = Object.fromEntries(rows.flatMap((row) => Object.keys(row).map((key) => [key, null])));
  return rows.map((row) => ({ ...none, ...row }));
}

/** Reads texts, targets and choices of rows, as `doc_to_text`, `doc_to_target` and `doc_to_choice` of the harness. */
class RowFields {
  readonly #config: TaskConfiguration;
  readonly #fields: ReadonlySet<string>;
  readonly #render: ConfiguredTaskOptions['render'];

  constructor(
    config: TaskConfiguration,
    fields: ReadonlySet<string>,
    render: ConfiguredTaskOptions['render'],
  ) {
    this.#config = config;
    this.#fields = fields;
    this.#render = render;
  }

  /** The text of a field or a template. */
  text(template: string, row: Row): string {
    return this.#fields.has(template) ? String(row[template]) : this.#render(template, row);
  }

  /** `doc_to_text`: a text, or the number of a choice. */
  input(row: Row): unknown {
    return this.#value(this.#config.doc_to_text, row);
  }

  /** `doc_to_target`: a text, the number of a choice, or a list of them. */
  target(row: Row): unknown {
    const { doc_to_target: template } = this.#config;
    const value = this.#value(template, row);
    const isRendered = typeof template === 'string' && !this.#fields.has(template);
    if (!isRendered || typeof value !== 'string' || !value.startsWith('[') || !value.endsWith(']'))
      return value;
    return pythonLiteral(value) ?? value;
  }

  /** `doc_to_choice`. */
  choices(row: Row, where: string): string[] {
    const { doc_to_choice: template } = this.#config;
    const value =
      typeof template !== 'string'
        ? template
        : this.#fields.has(template)
          ? row[template]
          : pythonLiteral(this.#render(template, row));
    if (Array.isArray(value) && value.length > 0 && value.every((choice) => typeof choice === 'string')) {
      return value;
    }
    throw wrong(where, 'doc_to_choice', value, 'a list of texts');
  }

  question(row: Row, where: string): string {
    const text = this.input(row);
    if (typeof text === 'string') return text;
    throw wrong(where, 'doc_to_text', text, 'a text');
  }

  /** All right answers as texts. */
  answers(row: Row, where: string): string[] {
    const target = this.target(row);
    if (this.#config.doc_to_choice !== undefined && typeof target === 'number') {
      const choice = this.choices(row, where)[target];
      if (choice === undefined) throw wrong(where, 'doc_to_target', target, 'the number of a choice');
      return [choice];
    }
    const texts = Array.isArray(target) ? target : [target];
    if (texts.every((text) => typeof text === 'string' || typeof text === 'number')) return texts.map(String);
    throw wrong(where, 'doc_to_target', target, 'a text, or a list of texts');
  }

  #value(template: RowText, row: Row): unknown {
    if (typeof template !== 'string') return template;
    if (this.#fields.has(template)) return plain(row[template]);
    const text = this.#render(template, row);
    const isNumber = this.#config.doc_to_choice !== undefined && /^\d+$/.test(text);
    return isNumber ? Number(text) : text;
  }
}

/** Numbers of Parquet and truth values as Python's integers. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint' || typeof value === 'boolean') return Number(value);
  return Array.isArray(value) ? value.map(plain) : value;
}

function wrong(where: string, key: string, value: unknown, expected: string): EvalsError {
  const got = value === undefined || value === null ? 'nothing' : JSON.stringify(value).slice(0, 100);
  return new EvalsError(`${where}: ${key} is wrong, got ${got}, expected ${expected}`);
}

function choiceTask(
  config: TaskConfiguration,
  layout: PromptLayout,
  read: RowFields,
  rows: readonly Row[],
  options: OpenAnswerOptions,
): Task {
  const { version, metrics = [{ name: 'acc' }, { name: 'acc_norm' }] } = config;
  // As in the harness, the first row decides whether choices are in the question, and the answer follows.
  const isInQuestion = typeof read.input(rows[0]) === 'number';
  const goldOf = (value: unknown, choices: readonly string[], where: string): number => {
    const index = typeof value === 'string' ? choices.indexOf(value) : value;
    if (Number.isInteger(index) && (index as number) >= 0 && (index as number) < choices.length) {
      return index as number;
    }
    const key = isInQuestion ? 'doc_to_text' : 'doc_to_target';
    throw wrong(where, key, value, `one of ${JSON.stringify(choices)}, or its number from 0`);
  };
  const question = ({ record, where }: RowReader): Question => {
    const row = record as Row;
    const choices = read.choices(row, where);
    const target = read.target(row);
    if (isInQuestion) {
      const fields = { after: read.answers(row, where)[0] };
      return { fields, choices, gold: goldOf(read.input(row), choices, where), target };
    }
    const gold = Array.isArray(target)
      ? target.map((value) => goldOf(value, choices, where))
      : goldOf(target, choices, where);
    return { fields: { question: read.question(row, where) }, choices, gold, target };
  };
  const definition = {
    ...layout,
    version,
    metrics: metrics.map(({ name }) => name as ChoiceMetric),
    prompt: isInQuestion ? '{choice}' : '{question}',
    target: isInQuestion ? '{after}' : '{choice}',
    severalGold: 'any' as const,
    read: question,
  };
  return multipleChoiceTask(definition, rows, options);
}
