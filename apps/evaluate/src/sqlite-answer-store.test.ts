import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AnswerStore } from '@meap/evals';
import { acquireLock } from '@meap/trainer';
import fc from 'fast-check';
import sqlite from 'node-sqlite3-wasm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openAnswerStore } from './sqlite-answer-store.ts';

let directory: string;
let store: AnswerStore;
let warnings: string[];
const open = () => openAnswerStore(directory, 'f'.repeat(64), { onWarning: (text) => warnings.push(text) });
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'meap-store-'));
  warnings = [];
  store = open();
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

const reopen = () => {
  store = open();
};
const file = () => join(directory, 'answers', 'f'.repeat(32), 'answers.sqlite');

describe('openAnswerStore', () => {
  const answer = (i: number) => ({ logLikelihood: -1 - i, isGreedy: i % 2 === 0 });
  const keys = Array.from({ length: 120 }, (_, i) => `key ${i}`);
  const fill = () => store.put(keys.map((key, i) => ({ key, answer: answer(i) })));
  const folder = () => readdirSync(join(directory, 'answers', 'f'.repeat(32)));

  it('returns stored answers exactly, also after reopening', async () => {
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
      { numRuns: 8 },
    );
    expect(await store.get(['never put'])).toEqual([undefined]);
  });

  it('separates models', async () => {
    const other = openAnswerStore(directory, 'e'.repeat(64));
    await other.put([{ key: 'a', answer: { logLikelihood: -1, isGreedy: true } }]);
    expect(await store.get(['a'])).toEqual([undefined]);
  });

  it('is shared by processes: each waits for the other and sees its answers', async () => {
    // Stores do not know of each other: each takes the lock as another process would.
    const stores = [store, open(), open()];
    const writes = stores.flatMap((one, i) =>
      Array.from({ length: 8 }, (_, j) => one.put([{ key: `${i} ${j}`, answer: answer(10 * i + j) }])),
    );
    const held = await acquireLock(join(directory, 'answers', 'f'.repeat(32)), { isBrief: true });
    let isDone = false;
    const all = Promise.all(writes).then(() => {
      isDone = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(isDone).toBe(false);
    held.release();
    await all;
    const keys = stores.flatMap((_, i) => Array.from({ length: 8 }, (_, j) => `${i} ${j}`));
    for (const one of stores) expect((await one.get(keys)).every((found) => found !== undefined)).toBe(true);
    expect(warnings).toEqual([]);
    expect(folder()).toEqual(['answers.sqlite']);
  });

  it('keeps the answers of all where another process replaces a damaged file', async () => {
    await fill();
    const other = open();
    expect(await other.get(['key 3'])).toEqual([answer(3)]);
    const bytes = readFileSync(file());
    writeFileSync(file(), bytes.subarray(0, bytes.length - 4096));
    reopen();
    await fill();
    expect(await other.get(keys)).toEqual(keys.map((_, i) => answer(i)));
  });

  it('opens after a process was killed in a transaction', async () => {
    await store.put([{ key: 'a', answer: { logLikelihood: -1, isGreedy: true } }]);
    mkdirSync(`${file()}.lock`);
    reopen();
    expect(await store.get(['a'])).toEqual([{ logLikelihood: -1, isGreedy: true }]);
  });

  it('returns correct answers or none, with a warning, regardless of which bytes are damaged', async () => {
    await fill();
    const whole = readFileSync(file());
    const damage = fc.oneof(
      fc.record({ at: fc.nat(whole.length - 1), bytes: fc.uint8Array({ minLength: 1, maxLength: 600 }) }),
      fc.record({ cut: fc.nat(whole.length - 1) }),
    );
    let repaired = 0;
    await fc.assert(
      fc.asyncProperty(damage, async (damage) => {
        const bytes = Buffer.from(whole);
        if ('at' in damage) bytes.set(damage.bytes.subarray(0, bytes.length - damage.at), damage.at);
        writeFileSync(file(), 'cut' in damage ? bytes.subarray(0, damage.cut) : bytes);
        warnings = [];
        reopen();
        const found = await store.get(keys);
        found.forEach((one, i) => {
          if (one !== undefined) expect(one).toEqual(answer(i));
        });
        if (warnings.length > 0) {
          repaired++;
          expect(warnings[0]).toMatch(
            /^\S+answers\.sqlite: damaged: [^\n]+; moved to \S+\.damaged-\d+, \d+ intact /,
          );
        }
        await fill();
        expect(await store.get(keys)).toEqual(keys.map((_, i) => answer(i)));
      }),
      { numRuns: 10 },
    );
    expect(repaired).toBeGreaterThan(0);
  });

  it('discards an altered answer and keeps the others', async () => {
    await fill();
    const bytes = readFileSync(file());
    // SQLite leaves stale copies in split pages; alters all of them.
    const text = '"logLikelihood":-8,';
    for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) bytes.write('9', at + 17);
    writeFileSync(file(), bytes);
    reopen();
    expect(await store.get(keys)).toEqual(keys.map((_, i) => (i === 7 ? undefined : answer(i))));
    expect(warnings).toEqual([
      expect.stringMatching(/checksum; moved to .*damaged-1, 119 intact answers kept/),
    ]);
    expect(folder()).toContain('answers.sqlite.damaged-1');
  });

  it('moves other files away: text, another schema, a view, an earlier format', async () => {
    const makes = [
      'CREATE VIEW answers AS SELECT 1 AS key, 2 AS answer, 3 AS sum; PRAGMA user_version = 2',
      'CREATE TABLE answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL) WITHOUT ROWID; PRAGMA user_version = 1',
      'CREATE TABLE other (a)',
    ];
    for (const make of ['', ...makes]) {
      await fill();
      rmSync(file());
      if (make === '') writeFileSync(file(), 'not SQLite '.repeat(100));
      else {
        const database = new sqlite.Database(file());
        database.exec(make);
        database.close();
      }
      warnings = [];
      reopen();
      await fill();
      expect(warnings).toHaveLength(1);
      reopen();
      expect(await store.get(['key 3'])).toEqual([answer(3)]);
    }
  });

  it('does not change a file in a newer format, and releases the lock', async () => {
    await fill();
    const database = new sqlite.Database(file());
    database.exec('PRAGMA user_version = 99');
    database.close();
    await expect(store.get(['a'])).rejects.toThrow(
      /cannot be read: got format 99, expected 2; .*another --cache/,
    );
    expect(folder()).toEqual(['answers.sqlite']);
  });

  it('refuses a folder that cannot be written', async () => {
    writeFileSync(join(directory, 'file'), '');
    const attempt = openAnswerStore(join(directory, 'file'), 'f').get(['a']);
    await expect(attempt).rejects.toThrow(/--cache: .* cannot be written/);
  });
});
