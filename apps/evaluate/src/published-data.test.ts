/** The recipes find and read data sets in their published layout. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { mmluSubjects } from '@meap/evals';
import { captureOutput } from '@meap/recipe-cli';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { evaluateCommand } from './command.ts';
import { tinyModel } from './testing.ts';

const recipes = join(import.meta.dirname, '../../../recipes/evaluate');
const names = readdirSync(recipes).filter((name) => /^(?!attention).*\.yaml$/.test(name));
let folder: string;

function write(name: string, content: string | Uint8Array): void {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
const many = <T>(make: (i: number) => T, count = 3) => Array.from({ length: count }, (_, i) => make(i));

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'meap-published-'));
  const science = (i: number) => ({
    id: `${i}`,
    question: {
      stem: `What sees whale ${i}?`,
      choices: ['A', 'B', 'C', 'D'].map((label) => ({ text: `captain ${label}`, label })),
    },
    answerKey: 'B',
  });
  write('ARC-V1/ARC-Easy/ARC-Easy-Test.jsonl', lines(many(science)));
  write('ARC-V1/ARC-Challenge/ARC-Challenge-Test.jsonl', lines(many(science)));
  write('ARC-V1/ARC-Challenge/ARC-Challenge-Train.jsonl', lines(many(science, 25)));
  write('openbookqa_test.jsonl', lines(many(science)));
  write(
    'boolq_val.jsonl',
    lines(many((i) => ({ question: `is it ${i}`, passage: 'It is.', label: i % 2 === 0 }))),
  );
  const endings = ['swims.', 'sings.', 'sinks.', 'sleeps.'];
  const scene = { activity_label: 'Sailing', ctx_a: 'A man sails.', ctx_b: 'then he', endings, label: 0 };
  write('hellaswag_val.jsonl', lines(many((ind) => ({ ind, ...scene }))));
  write('hellaswag_train.jsonl', lines(many((i) => ({ ind: 3 + i, ...scene }), 12)));
  write(
    'piqa_valid.jsonl',
    lines(many(() => ({ goal: 'Open it', sol1: 'with a key', sol2: 'with a whale', label: 0 }))),
  );
  const schema = { sentence: 'He saw _ swim.', option1: 'it', option2: 'her', answer: '1' };
  write('winogrande_1.1/winogrande_dev.jsonl', lines(many(() => schema)));
  write('winogrande_1.1/winogrande_train.jsonl', lines(many((i) => ({ ...schema, option2: `${i}` }), 6)));
  const problem = (i: number) => ({ question: `How many whales in ${i}?`, answer: `Some.\n#### ${i}` });
  write('grade_school_math/data/test.jsonl', lines(many(problem)));
  write('grade_school_math/data/train.jsonl', lines(many(problem, 5)));
  const examination = (i: number) =>
    mmluSubjects.map((subject) => ({ question: `Which ${i}?`, subject, choices: endings, answer: 1 }));
  write('mmlu_test.jsonl', lines(many(examination).flat()));
  write('mmlu_dev.jsonl', lines(many(examination, 5).flat()));
  const targets = { choices: ['Yes.', 'No.', 'Ahab.'], labels: [1, 0, 1] };
  write('truthful_qa_mc.jsonl', lines(many(() => ({ question: 'Is it?', mc2_targets: targets }))));
  for (const name of ['a', 'b']) write(`PaulGrahamEssays/${name}.txt`, 'It was a long voyage. '.repeat(2000));
  const ctxs = many(
    (i) => ({ title: `Whale ${i}`, text: `Text ${i}.`, isgold: i === 0, hasanswer: i === 0 }),
    20,
  );
  write(
    'nq-open-20_total_documents_gold_at_0.jsonl.gz',
    gzipSync(lines(many((i) => ({ question: `Who ${i}?`, answers: ['Ahab'], ctxs })))),
  );
  const derivations = many((i) => `Fact ${i}.`, 5);
  const needles = [2, 3, 4, 5].flatMap((count) =>
    many(
      () => ({
        derivations: derivations.slice(0, count),
        derivation_count: count,
        question: 'Who?',
        answer: 'Ahab',
      }),
      12,
    ),
  );
  write('multi_needle_reasoning_en.json', JSON.stringify(needles, null, 2));
  const articles = many((i) => `A whale was seen, number ${i}.`, 100);
  write('xsum_test.jsonl', lines(articles.map((document) => ({ document, summary: 'A whale.' }))));
  write('multi_news_test.jsonl', lines(articles.map((document) => ({ document, summary: 'A whale.' }))));
  write('wikisum_test.jsonl', lines(articles.map((article) => ({ article, summary: 'A whale.' }))));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A limit counts the questions of each cell of a grid: one short cell is enough. */
const SMALL = [
  'm_rs.lengths=[1000]',
  'm_rs.depths=[50]',
  'm_rs.repeats=1',
  'niah.lengths=[1000]',
  'ruler.lengths=[1000]',
].flatMap((set) => ['--set', set]);

it.each(names)('%s', async (name) => {
  const judge = name.includes('hallucination') ? ['--set', 'hallucination.judge=overlap'] : [];
  const argv = [
    '--config',
    join(recipes, name),
    '--model',
    tinyModel,
    '--data',
    folder,
    '--limit',
    '2',
    ...SMALL,
  ];
  const { code, stdout, stderr } = await captureOutput((io) =>
    evaluateCommand(['run', ...argv, '--dry-run', '--json', ...judge], io),
  );
  expect(code, stderr).toBe(0);
  const { tasks } = JSON.parse(stdout);
  expect(tasks.length).toBeGreaterThan(0);
});
