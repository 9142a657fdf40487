import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { choiceTasks } from './choice-tasks.ts';
import { EvalsError } from './error.ts';
import { evaluate } from './evaluate.ts';
import { lambadaTask } from './lambada.ts';
import { type MultipleChoice, multipleChoiceTask } from './multiple-choice.ts';
import type { Task } from './task.ts';
import { characters, functionModel } from './testing.ts';
import { renderedMultipleChoice, zeroShot } from './zero-shot.ts';

const model = { tokenizer: characters, contextLength: 100_000 };

/** Pairs of prompt and target, and the right one, of a task's only row. */
function only(task: Task): { pairs: [string, string][]; gold: number } {
  const [item, ...others] = task.items(model);
  expect(others).toEqual([]);
  return item.shown as { pairs: [string, string][]; gold: number };
}
const read = (definition: MultipleChoice, row: unknown) => only(multipleChoiceTask(definition, [row]));

const rendered = (query: string) => ({ query, choices: ['x', 'y'], gold: 1 });
const science = { question: 'Q?', choices: { text: ['x', 'y'], label: ['1', '2'] }, answerKey: '2' };
const original = {
  question: {
    stem: 'Q?',
    choices: [
      { text: 'x', label: 'A' },
      { text: 'y', label: 'B' },
    ],
  },
  answerKey: 'B',
};

describe('all forms of a row give the same question', () => {
  test.each([
    [
      'social_iqa',
      // The authors' labels end with a line break.
      ['2', '2\n', 2].map((label) => {
        return { context: 'C.', question: 'Q?', answerA: 'x', answerB: 'y', answerC: 'z', label };
      }),
    ],
    [
      'arc_easy',
      [
        science,
        { ...science, answerKey: '2\n' },
        { ...science, choices: { text: ['x', 'y'], label: ['1\n', '2\n'] } },
        original,
        rendered('Question: Q?'),
        rendered('Question: Q?\n'),
      ],
    ],
    ['openbookqa', [{ ...science, question_stem: 'Q?' }, original, rendered('Q?')]],
    [
      'piqa',
      [
        { goal: 'G', sol1: 'x', sol2: 'y', label: 1 },
        { goal: 'G', sol1: 'x', sol2: 'y', label: 1n },
        { goal: 'G', sol1: 'x', sol2: 'y', label: ' +1\r\n' },
        rendered('Question: G\n'),
      ],
    ],
    [
      'boolq',
      [
        { passage: 'P.', question: 'is it', label: 1 },
        { passage: 'P.', question: 'is it', answer: true },
        // As in CSV files.
        { passage: 'P.', question: 'is it', answer: 'True' },
        { passage: 'P.', question: 'is it', label: '1\n' },
        { query: 'Passage: P.\nQuestion: is it?', choices: ['no', 'yes'], gold: 1 },
      ],
    ],
    [
      'hellaswag',
      [
        {
          activity_label: 'L',
          ctx_a: 'He sat. [step] Up.',
          ctx_b: 'the Man',
          endings: ['x', 'y'],
          label: '1',
        },
        { ctx: 'L: He sat. [step] Up. the man', endings: ['x', 'y'], label: 1 },
        rendered('L: He sat. Up. The man'),
      ],
    ],
    [
      'winogrande',
      [
        { sentence: 'The _ is old.', option1: 'x', option2: 'y', answer: '2' },
        { sentence: 'The _ is old.', option1: 'x', option2: 'y', answer: '2 ' },
        { context_options: ['The x', 'The y'], continuation: 'is old.', gold: 1 },
      ],
    ],
  ] as [keyof typeof zeroShot, unknown[]][])('%s', (name, rows) => {
    const [first, ...others] = rows.map((row) => read(zeroShot[name], row));
    for (const other of others) expect(other).toEqual(first);
    expect(first.gold).toBe(1);
    expect(first.pairs).toHaveLength(name === 'social_iqa' ? 3 : 2);
  });
});

test("one's own task is a definition of a few lines", async () => {
  const sciq: MultipleChoice = {
    name: 'sciq',
    version: 1,
    metrics: ['acc', 'acc_norm'],
    prompt: '{support}\nQuestion: {question}\nAnswer:',
    read: (row) => ({
      fields: { support: row.text('support'), question: row.text('question') },
      choices: [row.text('distractor1'), row.text('correct_answer')],
      gold: 1,
    }),
  };
  const row = { support: 'S {question}', question: 'Q', distractor1: 'x', correct_answer: 'y' };
  const { pairs } = read(sciq, row);
  // Braces in data stay.
  expect(pairs[1]).toEqual(['S {question}\nQuestion: Q\nAnswer:', ' y']);
  expect(read(renderedMultipleChoice('mine'), rendered('Q:')).pairs[0]).toEqual(['Q:', ' x']);
});

test('the first of equally probable choices wins; lengths are characters and bytes', async () => {
  const row = { query: 'Q', choices: ['🧊🧊', 'xyz', 'xyz'], gold: 1 };
  const scored = functionModel(() => ({ logLikelihood: -6, isGreedy: false }));
  const task = multipleChoiceTask(renderedMultipleChoice('mine'), [row, { ...row, gold: 0 }]);
  const { samples } = await evaluate(task, scored);
  expect(samples[0].chance).toBeCloseTo(1 / 3);
  // −6; −6 / 2, −6 / 3; −6 / 8, −6 / 3.
  expect(samples[0].measured).toEqual({ acc: { value: 0 }, acc_norm: { value: 1 }, acc_bytes: { value: 0 } });
  expect(samples[1].measured).toEqual({ acc: { value: 1 }, acc_norm: { value: 0 }, acc_bytes: { value: 1 } });
});

describe('an error of a wrong row names row and field', () => {
  test.each<[keyof typeof zeroShot | keyof typeof choiceTasks, unknown, string]>([
    [
      'arc_easy',
      { ...science, answerKey: 'E' },
      'arc_easy, row 0: field answerKey is wrong, got "E", expected one of 1, 2',
    ],
    [
      'arc_easy',
      { question: 'Q' },
      'field choices.text is wrong, got nothing, expected a list of texts; the row has question',
    ],
    [
      'arc_easy',
      { ...original, question: { stem: 'Q', choices: [{ text: 'x' }] } },
      'row 0, question.choices[0]: field label',
    ],
    [
      'arc_easy',
      { ...original, question: { stem: 'Q', choices: 'x' } },
      'question.choices is wrong, got "x", expected a list of objects',
    ],
    [
      'piqa',
      { goal: 'G', sol1: 'x', sol2: 'y' },
      'field label is wrong, got nothing, expected an integer from 0 to 1',
    ],
    ['piqa', { goal: 'G', sol1: 'x', sol2: 'y', label: 2n }, 'got "2"'],
    ['piqa', { goal: 'G', sol1: 'x', sol2: 'y', label: ['1'] }, 'got ["1"], expected an integer'],
    ['boolq', { passage: 'P', question: 'Q', answer: [true] }, 'got [true], expected true or false'],
    ['boolq', rendered('Is it?'), 'expected "Passage: …'],
    ['boolq', { passage: 'P', question: 'Q', answer: 'yes' }, 'got "yes", expected true or false'],
    ['hellaswag', { ctx: 'a', endings: ['x', 1], label: 0 }, 'field endings is wrong, got ["x",1]'],
    ['hellaswag', { ctx: 'a', endings: ['x'], label: '' }, 'field label is wrong, got ""'],
    [
      'winogrande',
      { sentence: 'none', option1: 'x', option2: 'y', answer: '1' },
      'expected a text with _ in it',
    ],
    ['social_iqa', rendered('Q'), 'field context is wrong, got nothing, expected a text'],
    ['openbookqa', 'text', 'the row has string'],
    ['race', { article: 'A', problems: '[' }, 'field problems is wrong, got "[", expected a list of objects'],
    ['race', { article: 'A', problems: '[]' }, 'field problems is wrong, got "[]", expected at least one'],
    [
      'race',
      { article: 'A', problems: "[{'question': 'Q', 'answer': 'D', 'options': ['x']}]" },
      'race, row 0: the right choice is number 4, expected one of the 1 choices',
    ],
    [
      'copa',
      { premise: 'P', question: 'why' },
      'field question is wrong, got "why", expected cause or effect',
    ],
    [
      'truthfulqa_mc2',
      { question: 'Q', mc2_targets: { choices: ['x'], labels: [2] } },
      'field mc2_targets.labels.0 is wrong, got 2, expected an integer from 0 to 1',
    ],
  ])('%s, %#', (name, row, message) => {
    const items = () => [...multipleChoiceTask({ ...zeroShot, ...choiceTasks }[name], [row]).items(model)];
    expect(items).toThrow(EvalsError);
    expect(items).toThrow(message);
  });
});

const data = `${process.env.MEAP_DATA}/lm-eval`;

// Hashes: lm-evaluation-harness' prompts for the same rows, which it read in their published shapes.
describe.skipIf(!existsSync(data))('prompts of real rows are those of lm-evaluation-harness', () => {
  const { prompts } = JSON.parse(readFileSync(new URL('../fixtures/harness.json', import.meta.url), 'utf8'));

  test.each([
    ['arc_easy', 'arc_easy.first300'],
    ['arc_challenge', 'arc_challenge.first300'],
    ['boolq', 'boolq.first200'],
    ['hellaswag', 'hellaswag_val.first1000'],
    ['openbookqa', 'openbook_qa.first300'],
    ['piqa', 'piqa_valid.first500'],
    ['winogrande', 'winogrande.first300'],
    ['lambada_openai', 'lambada_openai.first300'],
  ])('%s', (name, file) => {
    let rows = readFileSync(`${data}/${file}.jsonl`, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    // Omitted from the fixture, since the harness fails at its length.
    if (name === 'piqa') rows = rows.filter(({ sol1 }) => sol1.length < 1000);
    const task =
      name === 'lambada_openai'
        ? lambadaTask(rows)
        : multipleChoiceTask(zeroShot[name as keyof typeof zeroShot], rows);
    const hash = createHash('sha256');
    for (const { shown } of task.items(model)) {
      for (const pair of shown.pairs as [string, string][]) hash.update(`${pair[0]}\0${pair[1]}\0`);
    }
    expect(hash.digest('hex')).toBe(prompts[name]);
  });
});
