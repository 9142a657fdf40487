/** Prompts of all long-context tasks against those of the programs that define them. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { keyValueTask } from './key-value-retrieval.ts';
import type { TextTokenizer } from './language-model.ts';
import { multiDocumentQaTask } from './multi-document-qa.ts';
import { multiNeedleTask } from './multi-needle.ts';
import { needleTask } from './needle.ts';
import { essays, jsonLines, jsonValue, promptHashes, realTokenizer } from './testing-data.ts';

const fixture: {
  needle: Record<string, string>;
  mdqa: Record<string, string>;
  keyValue: Record<string, string>;
  multiNeedle: Record<string, string>;
} = JSON.parse(readFileSync(new URL('../fixtures/long-context-prompts.json', import.meta.url), 'utf8'));

/** Texts as they are: for prompts that do not depend on tokens. */
const oneToken: TextTokenizer = { encode: () => [1], decode: () => '' };
const asRecord = <T>(entries: Iterable<readonly [string, T]>) => Object.fromEntries(entries);

describe.skipIf(!existsSync(process.env.MEAP_DATA!))('prompts are those of the published programs', () => {
  test.each(['llama2', 'llama3_1'] as const)('needle in a haystack, %s', (name) => {
    const task = needleTask({
      haystack: essays().slice(0, 6),
      lengths: [1000, 4096, 50_000],
      depths: [0, 11, 50, 89, 100],
    });
    const own = Object.entries(promptHashes(task, realTokenizer(name)));
    const wanted = Object.entries(fixture.needle).filter(([id]) => id.startsWith(`${name} `));
    expect(asRecord(own.map(([id, hash]) => [`${name} ${id}`, hash]))).toEqual(asRecord(wanted));
  });

  test('multi-document question answering', () => {
    // The published builder knows one document with the answer: the first, so the second one is left out here.
    const rows = jsonLines('qa/hotpotqa_100.litm-schema.jsonl').map((record) => {
      const row = record as { ctxs: { isgold: boolean }[] };
      const gold = row.ctxs.findIndex(({ isgold }) => isgold);
      return { ...row, ctxs: row.ctxs.filter(({ isgold }, index) => !isgold || index === gold) };
    });
    const task = multiDocumentQaTask(rows, { numDocuments: 8, positions: [1, 5, 8] });
    expect(promptHashes(task, oneToken)).toEqual(fixture.mdqa);
  });

  test('key-value retrieval', () => {
    const task = keyValueTask(jsonLines('qa/kv-retrieval-75_keys.jsonl.gz').slice(0, 40));
    expect(promptHashes(task, oneToken)).toEqual(fixture.keyValue);
  });

  test('multi-needle reasoning', () => {
    const records = jsonValue('needlebench/multi_needle_reasoning_en.json') as unknown[];
    const options = { haystack: essays(), lengths: [4000, 9000], depths: [0, 31, 94, 100], numRepeats: 3 };
    expect(promptHashes(multiNeedleTask(records, options), realTokenizer('llama3_1'))).toEqual(
      fixture.multiNeedle,
    );
  });
});
