/** The keys of a task of lm-evaluation-harness that need no Python, and what they mean. */
import {
  type AnswerFilter,
  EvalsError,
  type FilterStep,
  pythonRegExp,
  type Row,
  type TaskConfiguration,
} from '@meap/evals';
import { ConfigurationError } from '@meap/recipe-cli';
import { z } from 'zod';
import { parseKeys, pythonFunctions, type TaskYaml } from './read-task-yaml.ts';

const text = z.string('a text');
const flag = z.boolean('true or false');
const count = z.int('a whole number above 0').positive('a whole number above 0');
const natural = z.int('a whole number from 0').min(0, 'a whole number from 0');
const texts = z.array(text, 'a list of texts');
const oneOrMore = z.union([text.transform((one) => [one]), texts], 'a text or a list of texts');
const only = <const Value extends number | boolean>(value: Value, expected: string) =>
  z.literal(value, expected);
/** Read by the harness for other ends. */
const ignored = z.unknown().optional();

/** Metrics by output type, with their aggregation. */
const METRICS = {
  multiple_choice: {
    acc: 'mean',
    acc_norm: 'mean',
    acc_bytes: 'mean',
    exact_match: 'mean',
    f1: 'f1',
    mcc: 'matthews_corrcoef',
  },
  generate_until: { exact_match: 'mean' },
  loglikelihood: { perplexity: 'perplexity', acc: 'mean' },
  loglikelihood_rolling: {
    word_perplexity: 'weighted_perplexity',
    byte_perplexity: 'weighted_perplexity',
    bits_per_byte: 'bits_per_byte',
  },
} as const satisfies Record<TaskConfiguration['output_type'], Record<string, string>>;

const metric = z.strictObject({
  metric: text,
  aggregation: text.optional(),
  higher_is_better: flag.optional(),
  ignore_case: flag.optional(),
  ignore_punctuation: flag.optional(),
  ignore_numbers: flag.optional(),
  regexes_to_ignore: texts.optional(),
  weight_by_size: ignored,
  hf_evaluate: only(false, 'false').optional(),
});

const step = z.discriminatedUnion(
  'function',
  [
    z.strictObject({
      function: z.literal('regex'),
      regex_pattern: text.default('#### (\\-?[0-9\\.\\,]+)'),
      group_select: z.int('a whole number').default(0),
      fallback: text.default('[invalid]'),
    }),
    z.strictObject({ function: z.literal('take_first_k'), k: count }),
    z.strictObject({
      function: z.literal('map'),
      mapping_dict: z.record(z.string(), z.union([text, z.number()]).transform(String), 'texts by text'),
      default_value: z.union([text, z.number()]).transform(String).default('None'),
    }),
    z.strictObject({
      function: z.enum(['take_first', 'majority_vote', 'remove_whitespace', 'lowercase', 'uppercase']),
    }),
  ],
  'regex, take_first, take_first_k, majority_vote, remove_whitespace, lowercase, uppercase or map',
);

const schema = z.strictObject({
  task: text.regex(/^[\w.:+-]+$/, 'a name of letters, digits and _ . : + -'),
  task_alias: ignored,
  tag: ignored,
  group: ignored,
  dataset_path: text,
  dataset_name: text.optional(),
  dataset_kwargs: z
    .strictObject({
      data_files: z
        .union([oneOrMore, z.record(z.string(), oneOrMore)], 'files, or files by split')
        .optional(),
      trust_remote_code: ignored,
    })
    .default({}),
  training_split: text.optional(),
  validation_split: text.optional(),
  test_split: text.optional(),
  fewshot_split: text.optional(),
  output_type: z
    .enum(
      ['multiple_choice', 'generate_until', 'loglikelihood', 'loglikelihood_rolling'],
      'multiple_choice, generate_until, loglikelihood or loglikelihood_rolling',
    )
    .default('generate_until'),
  doc_to_text: z.union([text, natural], 'a field, a template, or a number').default(''),
  doc_to_target: z.union([text, natural, texts], 'a field, a template, a number, or a list of texts'),
  doc_to_choice: z
    .union(
      [text, texts, z.record(z.string(), text).transform((map) => Object.values(map))],
      'a field, a template, or a list of texts',
    )
    .optional(),
  description: text.default(''),
  gen_prefix: text.optional(),
  target_delimiter: text.default(' '),
  fewshot_delimiter: text.default('\n\n'),
  fewshot_config: z
    .strictObject({
      sampler: z.enum(['default', 'first_n'], 'default or first_n').default('default'),
      split: text.optional(),
      samples: z.array(z.record(z.string(), z.unknown()), 'a list of rows').optional(),
    })
    .prefault({}),
  num_fewshot: natural.optional(),
  metric_list: z.array(metric, 'a list of metrics').min(1, 'at least one').optional(),
  generation_kwargs: z
    .strictObject({
      until: oneOrMore.optional(),
      do_sample: flag.optional(),
      temperature: z.number('a number from 0').min(0, 'a number from 0').optional(),
      max_gen_toks: count.optional(),
      max_new_tokens: count.optional(),
      max_tokens: count.optional(),
      top_p: z.number('a number').optional(),
      num_beams: only(1, '1, since answers are decoded without beams').optional(),
    })
    .prefault({}),
  filter_list: z
    .array(z.strictObject({ name: text, filter: z.array(step, 'a list of functions') }), 'a list of filters')
    .optional(),
  repeats: count.default(1),
  should_decontaminate: ignored,
  doc_to_decontamination_query: ignored,
  unsafe_code: only(false, 'false, since programs that a model writes are not run').optional(),
  metadata: ignored,
});

type Keys = z.output<typeof schema>;

/** A task before its data are loaded. */
export interface ReadTask {
  /** Path of its file, for errors and relative paths. */
  readonly file: string;
  readonly configuration: TaskConfiguration;
  readonly data: Pick<Keys, 'dataset_path' | 'dataset_name'> & { readonly files?: DataFiles };
  /** The evaluated split. */
  readonly split: string;
  /** Rows of the examples, or their split. */
  readonly examples: { readonly split: string } | { readonly rows: readonly Row[] };
}

/** Files by split. */
type DataFiles = Readonly<Record<string, readonly string[]>>;

/**
 * Checks the keys of a task.
 *
 * @throws ConfigurationError with file, key, what was got and expected, for every problem
 */
export function readTask(file: string, yaml: TaskYaml): ReadTask {
  const problems = pythonFunctions(yaml).map(
    ({ key, name }) =>
      `${file}: ${key}: got the Python function ${name}, expected none, since no Python is run; write what it returns into ` +
      'the rows, and use a field or a template',
  );
  if (problems.length > 0) throw new ConfigurationError(problems);
  const keys = parseKeys(schema, file, yaml);
  const fail = (key: string, got: unknown, expected: string) => {
    problems.push(`${file}: ${key}: got ${JSON.stringify(got) ?? 'nothing'}, expected ${expected}`);
  };
  const { output_type: type, fewshot_config: fewshot, generation_kwargs: generation } = keys;
  const split = keys.test_split ?? keys.validation_split;
  if (split === undefined)
    fail('test_split', undefined, 'the split to evaluate, here or as validation_split');
  if (type === 'multiple_choice' && keys.doc_to_choice === undefined) {
    fail('doc_to_choice', undefined, 'the choices of a multiple_choice task');
  }
  const known: Readonly<Record<string, string>> = METRICS[type];
  for (const [i, { metric, aggregation }] of (keys.metric_list ?? []).entries()) {
    if (!Object.hasOwn(known, metric)) {
      fail(`metric_list.${i}.metric`, metric, `${Object.keys(known).join(', ')} with output_type ${type}`);
    } else if (aggregation !== undefined && aggregation !== known[metric]) {
      fail(`metric_list.${i}.aggregation`, aggregation, `${known[metric]} for ${metric}`);
    }
  }
  const { do_sample, temperature: given = 0, top_p } = generation;
  const temperature = do_sample === false ? 0 : given;
  if (temperature > 0 && top_p !== undefined && top_p !== 1) {
    fail('generation_kwargs.top_p', top_p, '1 with a temperature; answers are drawn from all tokens');
  }
  const fewshotSplit = fewshot.split ?? keys.fewshot_split;
  const examplesSplit =
    fewshotSplit ?? keys.training_split ?? keys.validation_split ?? keys.test_split ?? 'none';
  const rows = fewshotSplit === undefined ? fewshot.samples : undefined;
  const { match, filters } = attempt(problems, () => answersOf(file, keys)) ?? { match: {}, filters: [] };
  if (problems.length > 0) throw new ConfigurationError(problems);
  const { metadata } = keys as { metadata?: { version?: unknown } };
  return {
    file,
    split: split!,
    data: { dataset_path: keys.dataset_path, dataset_name: keys.dataset_name, files: filesOf(keys) },
    examples: rows ? { rows } : { split: examplesSplit },
    configuration: {
      task: keys.task,
      version: Number(metadata?.version) || 0,
      output_type: type,
      doc_to_text: keys.doc_to_text,
      doc_to_target: keys.doc_to_target,
      doc_to_choice: keys.doc_to_choice,
      description: keys.description,
      gen_prefix: keys.gen_prefix,
      target_delimiter: keys.target_delimiter,
      fewshot_delimiter: keys.fewshot_delimiter,
      // With num_fewshot 0 the harness gives a task no examples, whatever its command line says.
      ...(keys.num_fewshot !== 0 && {
        examples: {
          split: rows ? 'samples' : examplesSplit,
          sampler: fewshot.sampler,
          // The harness compares the names of the splits, of which both may be missing.
          excludesRow: fewshotSplit === keys.test_split,
          numFewshot: keys.num_fewshot,
        },
      }),
      metrics: keys.metric_list?.map(({ metric, higher_is_better }) => ({
        name: metric,
        ...(higher_is_better !== undefined && { higherIsBetter: higher_is_better }),
      })),
      filters,
      match,
      until: generation.until ?? [keys.fewshot_delimiter],
      maxGenToks: generation.max_gen_toks ?? generation.max_new_tokens ?? generation.max_tokens,
      temperature,
      repeats: keys.repeats,
      // As the harness completes what is given.
      generationKwargs:
        yaml.generation_kwargs == null
          ? { temperature: 0, do_sample: false, max_gen_toks: 256, until: [keys.fewshot_delimiter] }
          : { ...yaml.generation_kwargs, ...(!generation.until && { until: [keys.fewshot_delimiter] }) },
    },
  };
}

/** Collects errors of regular expressions. */
function attempt<T>(problems: string[], action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof EvalsError)) throw error;
    problems.push(error.message);
    return undefined;
  }
}

/** What counts as the answer of a generated text, and when it is right. */
function answersOf(file: string, keys: Keys): Pick<TaskConfiguration, 'match' | 'filters'> {
  const exact = keys.metric_list?.find(({ metric }) => metric === 'exact_match');
  const filters = (keys.filter_list ?? []).map(
    ({ name, filter }, i): AnswerFilter => ({
      name,
      steps: filter.flatMap((step, k) =>
        stepsOf(step, `${file}: filter_list.${i}.filter.${k}.regex_pattern`),
      ),
    }),
  );
  return {
    filters: filters.length > 0 ? filters : [{ name: 'none', steps: [] }],
    match: {
      ignoreCase: exact?.ignore_case,
      ignorePunctuation: exact?.ignore_punctuation,
      ignoreNumbers: exact?.ignore_numbers,
      regexesToIgnore: exact?.regexes_to_ignore?.map((regex) =>
        pythonRegExp(regex, `${file}: metric_list.regexes_to_ignore`),
      ),
    },
  };
}

function stepsOf(given: z.output<typeof step>, where: string): FilterStep[] {
  switch (given.function) {
    case 'regex': {
      const { regex_pattern, group_select: select, fallback } = given;
      return [{ regex: pythonRegExp(regex_pattern, where), select, fallback }];
    }
    case 'take_first_k':
      return [{ take: given.k }];
    case 'take_first':
      return [{ take: 1 }];
    case 'map':
      return [{ map: new Map(Object.entries(given.mapping_dict)), otherwise: given.default_value }];
    default:
      return [given.function];
  }
}

function filesOf({ dataset_kwargs: { data_files } }: Keys): DataFiles | undefined {
  // As in `datasets`, files without a split are of the split train.
  return Array.isArray(data_files) ? { train: data_files } : data_files;
}
