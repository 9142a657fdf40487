/** Prompts of all long-context tasks against those of the programs that define them. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { keyValueTask } from './key-value-retrieval.ts';
import type { TextTokenizer } from './language-model.ts';
import { multiDocumentQaTask } from './multi-document-qa.ts';
import { multiNeedleTask } from './multi-needle.ts';
import { needleTask } from './needle.ts';
import { rulerTask, rulerTaskNames } from './ruler.ts';
import type { Task } from './task.ts';
import { essays, hashedPrompts, jsonLines, jsonValue, realTokenizer, shortHash } from './testing-data.ts';

const fixture: {
  needle: Record<string, string>;
  mdqa: Record<string, string>;
  keyValue: Record<string, string>;
  multiNeedle: Record<string, string>;
  ruler: Record<string, [prompt: string, answers: string]>;
} = JSON.parse(readFileSync(new URL('../fixtures/long-context-prompts.json', import.meta.url), 'utf8'));

/** Hashes of a task's prompts by the id of their row. */
const byId = (task: Task, tokenizer: TextTokenizer) =>
  Object.fromEntries(Array.from(hashedPrompts(task, tokenizer), ([hash, { id }]) => [id, hash]));

/** What a fixture has for a tokenizer or task. */
const entriesOf = <T>(entries: Record<string, T>, prefix: string): Record<string, T> =>
  Object.fromEntries(
    Object.entries(entries).flatMap(([id, entry]) =>
      id.startsWith(prefix) ? [[id.slice(prefix.length), entry]] : [],
    ),
  );

/** For prompts that do not depend on tokens. */
const oneToken: TextTokenizer = { encode: () => [1], decode: () => '' };

describe.skipIf(!existsSync(process.env.MEAP_DATA!))('prompts are those of the published programs', () => {
  test.each([
    ['llama2', [5, 6], [1000, 3000]],
    ['llama3_1', [0, 3], [1000, 4096, 20_000]],
  ] as const)('needle in a haystack, %s', (name, [from, to], lengths) => {
    const haystack = essays().slice(from, to);
    const task = needleTask({ haystack, lengths, depths: [0, 11, 50, 89, 100] });
    expect(byId(task, realTokenizer(name))).toEqual(entriesOf(fixture.needle, `${name} `));
  });

  test('multi-document question answering', () => {
    // The published builder knows one document with the answer: the first, so the second one is left out here.
    const rows = jsonLines('qa/hotpotqa_100.litm-schema.jsonl').map((record) => {
      const row = record as { ctxs: { isgold: boolean }[] };
      const gold = row.ctxs.findIndex(({ isgold }) => isgold);
      return { ...row, ctxs: row.ctxs.filter(({ isgold }, index) => !isgold || index === gold) };
    });
    const task = multiDocumentQaTask(rows, { numDocuments: 8, positions: [1, 5, 8] });
    expect(byId(task, oneToken)).toEqual(fixture.mdqa);
  });

  test('key-value retrieval', () => {
    const task = keyValueTask(jsonLines('qa/kv-retrieval-75_keys.jsonl.gz').slice(0, 40));
    expect(byId(task, oneToken)).toEqual(fixture.keyValue);
  });

  test('multi-needle reasoning', () => {
    const records = jsonValue('needlebench/multi_needle_reasoning_en.json') as unknown[];
    const options = { haystack: essays(), lengths: [4000, 9000], depths: [31, 94], numRepeats: 3 };
    expect(byId(multiNeedleTask(records, options), realTokenizer('llama3_1'))).toEqual(fixture.multiNeedle);
  });

  describe.each([
    ['llama2', 2048],
    ['llama3_1', 4096],
  ] as const)('RULER, %s', (name, length) => {
    // Tasks on essays differ by needles, which the first tokenizer checks.
    const names =
      name === 'llama2'
        ? rulerTaskNames
        : rulerTaskNames.filter((task) => !/niah_(single_[23]|multi)/.test(task));
    test.each(names)('%s', (taskName) => {
      const task = rulerTask(taskName, { lengths: [length], numSamples: 4, haystack: essays() });
      const own = Array.from(hashedPrompts(task, realTokenizer(name)), ([hash, { id, shown }]) => [
        id,
        [hash, shortHash((shown.answers as string[]).join('\n'))],
      ]);
      expect(Object.fromEntries(own)).toEqual(entriesOf(fixture.ruler, `${name} ${taskName} `));
    });
  });
});
