import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openAnswerStore, type SqliteAnswerStore } from './sqlite-answer-store.ts';

let directory: string;
let store: SqliteAnswerStore;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'meap-store-'));
  store = openAnswerStore(directory, 'f'.repeat(64));
});
afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true });
});

const reopen = () => {
  store.close();
  store = openAnswerStore(directory, 'f'.repeat(64));
};
const file = () => join(directory, 'answers', 'f'.repeat(32), 'answers.sqlite');

describe('openAnswerStore', () => {
  it('returns what was put, in the order of the keys, to the last bit, also when opened again', async () => {
    const answers = fc.oneof(
      fc.record({
        logLikelihood: fc.double({ noNaN: true, noDefaultInfinity: true }),
        isGreedy: fc.boolean(),
      }),
      fc.record({
        text: fc.string({ unit: 'grapheme' }),
        ids: fc.array(fc.nat()),
        finish: fc.constantFrom('stop' as const, 'length' as const),
      }),
    );
    const entries = fc.uniqueArray(fc.record({ key: fc.string(), answer: answers }), {
      selector: ({ key }) => key,
    });
    await fc.assert(
      fc.asyncProperty(entries, fc.string(), async (entries, other) => {
        fc.pre(entries.every(({ key }) => key !== other));
        await store.put(entries);
        reopen();
        const found = await store.get([other, ...entries.map(({ key }) => key)]);
        expect(found.slice(1)).toEqual(JSON.parse(JSON.stringify(entries.map(({ answer }) => answer))));
      }),
      { numRuns: 20 },
    );
    expect(await store.get(['never put'])).toEqual([undefined]);
  });

  it('keeps models apart, and is held by one process at a time', async () => {
    const other = openAnswerStore(directory, 'e'.repeat(64));
    await other.put([{ key: 'a', answer: { logLikelihood: -1, isGreedy: true } }]);
    expect(await store.get(['a'])).toEqual([undefined]);
    other.close();
    expect(() => openAnswerStore(directory, 'f'.repeat(64))).toThrow(/in use by another evaluation/);
  });

  it('opens after a process was killed in a transaction', async () => {
    await store.put([{ key: 'a', answer: { logLikelihood: -1, isGreedy: true } }]);
    store.close();
    mkdirSync(`${file()}.lock`);
    store = openAnswerStore(directory, 'f'.repeat(64));
    expect(await store.get(['a'])).toEqual([{ logLikelihood: -1, isGreedy: true }]);
  });

  it('names a damaged file and leaves the store free', () => {
    store.close();
    writeFileSync(file(), 'no database'.repeat(100));
    const open = () => openAnswerStore(directory, 'f'.repeat(64));
    expect(open).toThrow(/answers.sqlite: cannot be used: .*; delete it/);
    rmSync(file());
    store = open();
    expect(readdirSync(join(directory, 'answers', 'f'.repeat(32)))).toContain('run.lock');
  });

  it('refuses a folder that cannot be written', () => {
    writeFileSync(join(directory, 'file'), '');
    expect(() => openAnswerStore(join(directory, 'file'), 'f')).toThrow(/--cache: .* cannot be written/);
  });
});
