// Prompts with examples and chat templates, metrics and totals of lm-evaluation-harness 0.4.13: fixtures/make_harness_tasks.py.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { choiceTasks } from './choice-tasks.ts';
import { evaluate } from './evaluate.ts';
import { toHarnessJson } from './harness-json.ts';
import { type LambadaName, lambadaTask } from './lambada.ts';
import type { LanguageModel } from './language-model.ts';
import { type LongBenchName, longBench } from './longbench.ts';
import { mmluPro } from './mmlu-pro.ts';
import { type HarnessOptions, type MultipleChoice, multipleChoiceTask } from './multiple-choice.ts';
import { openAnswerTask } from './open-answer.ts';
import { chainOfThoughtExamples, openAnswers } from './open-answers.ts';
import { blimp, type MmluSubject, mmlu } from './subject-tasks.ts';
import type { Task } from './task.ts';
import { characters } from './testing.ts';
import { wikitextTask } from './wikitext.ts';
import { zeroShot } from './zero-shot.ts';

interface HarnessTask {
  rows: unknown[];
  examples: unknown[] | null;
  outputs: string[] | null;
  runs: {
    options: HarnessOptions;
    prompts: string[];
    metrics: Record<string, number | [number, number]>[];
    totals: Record<string, number>;
  }[];
}
interface HarnessGroup {
  tasks: string[];
  metrics: string[];
  weightBySize: boolean;
  totals: Record<string, number>;
}
const harness: { tasks: Record<string, HarnessTask>; groups: Record<string, HarnessGroup> } = JSON.parse(
  readFileSync(new URL('../fixtures/harness-tasks.json', import.meta.url), 'utf8'),
);

function taskOf(name: string, { rows, examples }: HarnessTask, given: HarnessOptions): Task {
  const options = { ...given, fewshotRows: examples ?? undefined };
  const open = openAnswers[name as keyof typeof openAnswers];
  if (open) {
    const fewshotRows = open.examples?.split === 'samples' ? chainOfThoughtExamples : options.fewshotRows;
    return openAnswerTask(open, rows, { ...options, bos: false, fewshotRows });
  }
  if (name === 'mmlu_pro_computer_science') {
    return openAnswerTask(mmluPro('computer science'), rows, { ...options, bos: false });
  }
  if (name.startsWith('longbench_')) {
    const definition = longBench(name.replace('longbench_', '') as LongBenchName);
    return openAnswerTask(definition, rows, { ...options, bos: false });
  }
  if (name.startsWith('lambada')) return lambadaTask(rows, { ...options, name: name as LambadaName });
  if (name === 'wikitext') return wikitextTask(rows);
  const known: Record<string, MultipleChoice> = { ...zeroShot, ...choiceTasks };
  const subject = name.replace(/^mmlu_/, '') as MmluSubject;
  const one = known[name] ?? (name.startsWith('mmlu') ? mmlu(subject) : blimp('adjunct_island'));
  return multipleChoiceTask(one, rows, options);
}

const sha256 = (text: string) => createHash('sha256').update(text).digest();

/** The model of the fixture: scores and answers by hash. */
function hashModel(outputs: readonly string[] | null, isRolling = false): LanguageModel {
  return {
    name: 'hash',
    fingerprint: 'hash',
    contextLength: 1_000_000,
    tokenizer: characters,
    chat: {
      render: (messages) =>
        `${messages.map(({ role, content }) => `[${role}]${content}[end]\n`).join('')}[assistant]`,
      encode: characters.encode,
    },
    score: async (requests) =>
      requests.map(({ context, continuation }) => {
        const text = characters.decode([...context, ...continuation]);
        const drawn = sha256(text);
        if (isRolling) return { logLikelihood: (-[...text].length * (drawn[0] + 1)) / 256, isGreedy: false };
        return { logLikelihood: -(drawn[0] % 13) / 2 - 0.5, isGreedy: drawn[1] % 3 === 0 };
      }),
    generate: async (requests) =>
      requests.map(({ prompt, seed = 0 }) => {
        const repeat = seed % 64;
        const [drawn] = sha256(`${characters.decode(prompt)}${repeat === 0 ? '' : repeat}`);
        return { text: outputs![drawn % outputs!.length], ids: [], finish: 'stop' };
      }),
  };
}

const promptHash = ({
  pairs,
  prompt,
  text,
}: {
  pairs?: [string, string][];
  prompt?: string;
  text?: string;
}) =>
  sha256(text ?? (pairs ? pairs.map(([a, b]) => `${a}\0${b}\0`).join('') : `${prompt}\0\0`))
    .toString('hex')
    .slice(0, 16);

const runs = Object.entries(harness.tasks).flatMap(([name, fixture]) =>
  fixture.runs.map((run) => ({ name, options: JSON.stringify(run.options), run, fixture })),
);

describe.each(runs)('$name with $options', ({ name, run, fixture }) => {
  const task = taskOf(name, fixture, run.options);
  test('has the prompts, the numbers of each row and the totals', async () => {
    const result = await evaluate(task, hashModel(fixture.outputs, name === 'wikitext'));
    expect(result.skipped).toEqual([]);
    expect(result.samples.map(({ shown }) => promptHash(shown))).toEqual(run.prompts);
    for (const [row, { measured }] of result.samples.entries()) {
      for (const [metric, expected] of Object.entries(run.metrics[row])) {
        const { value, weight } = measured[metric];
        // numpy adds in another order.
        if (name === 'truthfulqa_mc2') expect(value).toBeCloseTo(expected as number, 14);
        else expect(Array.isArray(expected) ? [value, weight] : value, metric).toEqual(expected);
      }
    }
    const json = toHarnessJson([result]) as {
      results: Record<string, Record<string, number>>;
      'n-shot': Record<string, number>;
    };
    for (const [metric, value] of Object.entries(run.totals)) {
      // Bootstrapped there.
      if (metric !== 'perplexity_stderr,none')
        expect(json.results[name][metric], metric).toBeCloseTo(value, 12);
    }
    expect(json['n-shot'][name]).toBe(run.options.numFewshot);
  });
});

test.each(Object.entries(harness.groups))(
  'totals of the group %s',
  async (_, { tasks: names, metrics, weightBySize, totals }) => {
    const group = { name: 'group', version: 1, metrics, weightBySize };
    const results = await Promise.all(
      names.map((name, size) => {
        const { rows, ...fixture } = harness.tasks[name];
        const task = taskOf(name, { ...fixture, rows: rows.slice(0, 3 + size) }, { numFewshot: 0 });
        const member = { ...task, memberOf: [group, ...(task.memberOf ?? [])] };
        return evaluate(member, hashModel(harness.tasks.gsm8k.outputs));
      }),
    );
    const json = toHarnessJson(results) as {
      groups: Record<string, object>;
      group_subtasks: Record<string, string[]>;
    };
    const { name: _name, alias: _alias, ...found } = json.groups.group as Record<string, unknown>;
    const expected = Object.entries(totals).map(([key, value]) => [key, expect.closeTo(value, 14)] as const);
    expect(found).toEqual(Object.fromEntries(expected));
    if (!names[0].startsWith('mmlu')) return;
    expect(json.groups).toHaveProperty(['mmlu_stem', 'acc,none']);
    expect(json.group_subtasks.mmlu_humanities).toEqual(names.slice(1));
  },
);
