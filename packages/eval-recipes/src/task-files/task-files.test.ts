// Task files of lm-evaluation-harness 0.4.13 as they are: fixtures/make_harness_yaml.py.
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { evaluate, type LanguageModel, summarizeTaskGroups, toHarnessJson } from '@meap/evals';
import { FakeHub } from '@meap/test-support';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { makeTasks } from '../make-tasks.ts';
import { sampleLines } from '../sample-lines.ts';

interface Fixture {
  name: string;
  splits: string[];
  evaluated: string;
  rows: unknown[];
  examples: unknown[];
  outputs: string[];
  /** Lines of the sample log of two rows. */
  samples?: Record<string, unknown>[];
  runs: {
    shots: number | null;
    prompts: string[];
    metrics: Record<string, number | [number, number]>[];
    totals: Record<string, number>;
  }[];
}

const fixtures = fileURLToPath(new URL('../../fixtures', import.meta.url));
const {
  tasks,
  groups,
}: { tasks: Record<string, Fixture>; groups: Record<string, Record<string, number | 'N/A'>> } = JSON.parse(
  readFileSync(join(fixtures, 'harness-yaml.json'), 'utf8'),
);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'meap-task-files-'));
  for (const { name, splits, evaluated, rows, examples } of Object.values(tasks)) {
    for (const split of splits) write(`${name}_${split}.jsonl`, split === evaluated ? rows : examples);
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, content: string | readonly unknown[]): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  const text = typeof content === 'string' ? content : content.map((row) => JSON.stringify(row)).join('\n');
  writeFileSync(path, text);
  return path;
}

const sha256 = (text: string) => createHash('sha256').update(text).digest();

/** The model of the fixture: scores and answers by hash; ids are code points. */
function hashModel(outputs: readonly string[], isRolling = false): LanguageModel {
  const decode = (ids: readonly number[]) => String.fromCodePoint(...ids);
  return {
    name: 'hash',
    fingerprint: 'hash',
    contextLength: 1_000_000,
    tokenizer: { encode: (text) => Array.from(text, (one) => one.codePointAt(0)!), decode, eosId: 0 },
    score: async (requests) =>
      requests.map(({ context, continuation }) => {
        const text = decode([...context, ...continuation]).replace('\0', '');
        const drawn = sha256(text);
        if (isRolling) return { logLikelihood: (-[...text].length * (drawn[0] + 1)) / 256, isGreedy: false };
        return { logLikelihood: -(drawn[0] % 13) / 2 - 0.5, isGreedy: drawn[1] % 3 === 0 };
      }),
    generate: async (requests) =>
      requests.map(({ prompt }) => {
        const text = outputs[sha256(decode(prompt))[0] % outputs.length];
        return { text, ids: [], finish: 'stop' };
      }),
  };
}

const textOf = ({ pairs, prompt, text }: Record<string, unknown>) =>
  pairs
    ? (pairs as [string, string][]).map(([a, b]) => `${a}\0${b}\0`).join('')
    : typeof prompt === 'string'
      ? `${prompt}\0\0`
      : String(text);

const runs = Object.entries(tasks).flatMap(([path, fixture]) =>
  fixture.runs.map((run) => ({ path, shots: run.shots, run, fixture })),
);

describe.each(runs)('$path with $shots examples', ({ path, shots, run, fixture }) => {
  it('has the prompts, the numbers of each row and the totals of the harness', async () => {
    const [task] = await makeTasks({
      tasks: [join(fixtures, 'harness-yaml', path)],
      data: { folder },
      ...(shots !== null && { num_fewshot: shots }),
    });
    const model = hashModel(fixture.outputs, path.startsWith('pile'));
    const result = await evaluate(task, model, { logSamples: true });
    expect(result.skipped).toEqual([]);
    const hashes = result.samples.map(({ shown }) => sha256(textOf(shown)).toString('hex').slice(0, 16));
    expect(hashes).toEqual(run.prompts);
    for (const [row, { measured }] of result.samples.entries()) {
      for (const [metric, expected] of Object.entries(run.metrics[row])) {
        const { value, weight } = measured[metric];
        expect(Array.isArray(expected) ? [value, weight] : value, metric).toEqual(expected);
      }
    }
    if (shots === null && fixture.samples) {
      const lines = sampleLines(result) as { doc_id: number }[];
      expect(lines.filter(({ doc_id }) => doc_id < 2)).toEqual(fixture.samples);
    }
    const { results } = toHarnessJson([result]) as { results: Record<string, Record<string, number>> };
    for (const [metric, value] of Object.entries(run.totals)) {
      expect(results[fixture.name][metric], metric).toBeCloseTo(value, 12);
    }
  });
});

it('evaluates a group of files in its folder, with a group inside', async () => {
  const found = await makeTasks({ tasks: [join(fixtures, 'harness-yaml/some.yaml')], data: { folder } });
  const results = await Promise.all(found.map((task) => evaluate(task, hashModel(['']))));
  const totals = summarizeTaskGroups(results);
  expect(totals.map(({ name, tasks }) => [name, tasks.length])).toEqual([
    ['some', 3],
    ['inner', 2],
  ]);
  const { groups: all } = toHarnessJson(results) as { groups: Record<string, object> };
  for (const [name, expected] of Object.entries(groups)) {
    const numbers = Object.entries(expected).map(
      // The fixture was made without standard errors.
      ([key, value]) => [key, value === 'N/A' ? expect.any(Number) : expect.closeTo(value, 12)] as const,
    );
    const { name: _name, alias: _alias, sample_len: _length, ...rest } = all[name] as Record<string, unknown>;
    expect(rest).toEqual(Object.fromEntries(numbers));
  }
});

const task = (keys: object) => ({
  task: 'mine',
  dataset_path: 'json',
  dataset_kwargs: { data_files: { test: 'mine.jsonl' } },
  test_split: 'test',
  output_type: 'multiple_choice',
  doc_to_text: '{{q}}',
  doc_to_choice: ['no', 'yes'],
  doc_to_target: 'gold',
  ...keys,
});
// JSON is YAML.
const yaml = (name: string, content: unknown) =>
  write(name, typeof content === 'string' ? content : JSON.stringify(content));
const messageOf = async (content: unknown, more: object = {}) => {
  const path = yaml('refused.yaml', content);
  const found = async () => {
    const [task] = await makeTasks({ tasks: [`${path}`], data: { folder }, ...more });
    await evaluate(task, hashModel(['']));
  };
  const error = await found().then(
    () => expect.fail('accepted'),
    (error: Error) => error,
  );
  return error.message.replaceAll(`${folder}/`, '');
};

it.each<[string, object | string, RegExp | string]>([
  [
    'Python',
    'task: a\nprocess_docs: !function utils.process_docs\nmetric_list: [{ metric: !function m.f1 }]',
    /^refused\.yaml: process_docs: got the Python function utils\.process_docs, expected none.*\nrefused\.yaml: metric_list\.0\.metric: got the Python function m\.f1/,
  ],
  ['a key', task({ doc_to_txt: 'q' }), /^refused\.yaml: doc_to_txt: unknown key; did you mean doc_to_text\?/],
  ['images', task({ doc_to_image: 'i' }), /^refused\.yaml: doc_to_image: unknown key/],
  [
    'a metric',
    task({ metric_list: [{ metric: 'bleu' }, { metric: 'acc', aggregation: 'median' }] }),
    'refused.yaml: metric_list.0.metric: got "bleu", expected acc, acc_norm, acc_bytes, exact_match, f1, mcc with output_type multiple_choice\n' +
      'refused.yaml: metric_list.1.aggregation: got "median", expected mean for acc',
  ],
  [
    'a filter',
    task({ filter_list: [{ name: 'x', filter: [{ function: 'multi_choice_regex' }] }] }),
    /^refused\.yaml: filter_list\.0\.filter\.0\.function: got "multi_choice_regex", expected regex, take_first/,
  ],
  [
    'a regular expression',
    task({
      output_type: 'generate_until',
      filter_list: [{ name: 'x', filter: [{ function: 'regex', regex_pattern: 'a++' }] }],
    }),
    /^refused\.yaml: filter_list\.0\.filter\.0\.regex_pattern: got "a\+\+", expected a regular expression/,
  ],
  [
    'no split',
    task({ test_split: null }),
    /^refused\.yaml: test_split: got nothing, expected the split to evaluate/,
  ],
  [
    'no choices',
    task({ doc_to_choice: null }),
    /^refused\.yaml: doc_to_choice: got nothing, expected the choices/,
  ],
  [
    'a missing file',
    task({ dataset_kwargs: { data_files: { test: 'no.jsonl' } } }),
    'refused.yaml: dataset_kwargs.data_files: no file no.jsonl; paths are relative to the YAML',
  ],
  [
    'files of another split',
    task({ dataset_kwargs: { data_files: 'mine.jsonl' } }),
    'refused.yaml: dataset_kwargs.data_files: got files of train, expected some of the split test',
  ],
  [
    'data that are nowhere',
    task({ dataset_path: 'org/d', dataset_name: 'en', dataset_kwargs: null }),
    /^refused\.yaml: dataset_path: got org\/d, en, split test, which is not in .* and not fetched: .*HF_HUB_OFFLINE is set.*; put it there as d\/en\/test\.jsonl or mine_test\.jsonl/,
  ],
  [
    'a missing field',
    task({ doc_to_text: '{{query}}' }),
    /^refused\.yaml: "\{\{query\}\}": the template fails: field query is missing$/,
  ],
  [
    'a wrong answer',
    task({ doc_to_target: 'q' }),
    'mine, row 0: doc_to_target is wrong, got "one", expected one of ["no","yes"], or its number from 0',
  ],
  ['itself', { include: 'refused.yaml' }, /^refused\.yaml: circular include/],
  ['no YAML', 'a: [', /^refused\.yaml: not YAML: /],
  [
    'a group of nothing',
    { group: 'g', task: ['nope'] },
    /^refused\.yaml: task\.0: got "nope", expected a task, group or tag of a YAML file/,
  ],
])('%s is refused with file and key', async (_, content, message) => {
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  onTestFinished(() => void vi.unstubAllEnvs());
  write('mine.jsonl', [{ q: 'one', gold: 1 }]);
  expect(await messageOf(content)).toMatch(message);
});

it('reads files beside the YAML, and a group with a built-in task and a tag', async () => {
  write('own/mine.jsonl', [
    { q: 'one', gold: 1 },
    { q: 'two', gold: 0 },
  ]);
  const mine = yaml('own/mine.yaml', task({ tag: ['tagged'], metadata: { version: 2 } }));
  const group = yaml('own/g.yaml', { group: 'g', task: ['tagged', 'induction'] });
  const make = (...tasks: string[]) => {
    const induction = { induction: { length: 4, rows: 2 } };
    return makeTasks({ tasks, data: {}, ...induction });
  };
  const found = await make(group);
  expect(found.map(({ name, version, memberOf }) => [name, version, memberOf![0].name])).toEqual([
    ['mine', 2, 'g'],
    ['induction', found[1].version, 'g'],
  ]);
  await expect(make(group, mine)).rejects.toThrow('got several tasks of the name mine');
});

it('fetches rows from the Hub by name, converted to Parquet', async () => {
  const hub = new FakeHub();
  const parquet = fileURLToPath(
    new URL('../../../token-dataset/fixtures/documents.none.parquet', import.meta.url),
  );
  hub.repositories.set('datasets/org/texts', { files: { 'en/test/0000.parquet': readFileSync(parquet) } });
  vi.stubEnv('HF_ENDPOINT', await hub.start());
  vi.stubEnv('HF_HUB_CACHE', join(folder, 'hub'));
  onTestFinished(async () => {
    vi.unstubAllEnvs();
    await hub.close();
  });
  const texts = task({
    dataset_path: 'org/texts',
    dataset_name: 'en',
    dataset_kwargs: null,
    output_type: 'loglikelihood_rolling',
    doc_to_choice: null,
    doc_to_target: 'text',
  });
  const [found] = await makeTasks({ tasks: [yaml('hub.yaml', texts)], data: {} });
  expect(found.numItems).toBeGreaterThan(1);
  expect(found.metrics.map(({ name }) => name)).toEqual([
    'word_perplexity',
    'byte_perplexity',
    'bits_per_byte',
  ]);
});
