import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import sqlite from 'node-sqlite3-wasm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openAnswerStore, type SqliteAnswerStore } from './sqlite-answer-store.ts';

let directory: string;
let store: SqliteAnswerStore;
let warnings: string[];
const open = () => openAnswerStore(directory, 'f'.repeat(64), { onWarning: (text) => warnings.push(text) });
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'meap-store-'));
  warnings = [];
  store = await open();
});
afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true });
});

const reopen = async () => {
  store.close();
  store = await open();
};
const file = () => join(directory, 'answers', 'f'.repeat(32), 'answers.sqlite');

describe('openAnswerStore', () => {
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
        await reopen();
        const found = await store.get([other, ...entries.map(({ key }) => key)]);
        expect(found.slice(1)).toEqual(JSON.parse(JSON.stringify(entries.map(({ answer }) => answer))));
      }),
      { numRuns: 8 },
    );
    expect(await store.get(['never put'])).toEqual([undefined]);
  });

  it('separates models and allows one process at a time', async () => {
    const other = await openAnswerStore(directory, 'e'.repeat(64));
    await other.put([{ key: 'a', answer: { logLikelihood: -1, isGreedy: true } }]);
    expect(await store.get(['a'])).toEqual([undefined]);
    other.close();
    await expect(open()).rejects.toThrow(/in use by another evaluation/);
  });

  it('opens after a process was killed in a transaction', async () => {
    await store.put([{ key: 'a', answer: { logLikelihood: -1, isGreedy: true } }]);
    store.close();
    mkdirSync(`${file()}.lock`);
    store = await open();
    expect(await store.get(['a'])).toEqual([{ logLikelihood: -1, isGreedy: true }]);
  });

  const answer = (i: number) => ({ logLikelihood: -1 - i, isGreedy: i % 2 === 0 });
  const keys = Array.from({ length: 120 }, (_, i) => `key ${i}`);
  const fill = () => store.put(keys.map((key, i) => ({ key, answer: answer(i) })));
  const folder = () => readdirSync(join(directory, 'answers', 'f'.repeat(32)));

  it('returns correct answers or none, with a warning, regardless of which bytes are damaged', async () => {
    await fill();
    store.close();
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
        store = await open();
        try {
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
        } finally {
          store.close();
        }
      }),
      { numRuns: 10 },
    );
    expect(repaired).toBeGreaterThan(0);
    store = await open();
  });

  it('discards an altered answer and keeps the others', async () => {
    await fill();
    store.close();
    const bytes = readFileSync(file());
    // SQLite leaves stale copies in split pages; alters all of them.
    const text = '"logLikelihood":-8,';
    for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) bytes.write('9', at + 17);
    writeFileSync(file(), bytes);
    store = await open();
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
      store.close();
      rmSync(file());
      if (make === '') writeFileSync(file(), 'not SQLite '.repeat(100));
      else {
        const database = new sqlite.Database(file());
        database.exec(make);
        database.close();
      }
      warnings = [];
      store = await open();
      expect(warnings).toHaveLength(1);
      await fill();
      await reopen();
      expect(await store.get(['key 3'])).toEqual([answer(3)]);
    }
  });

  it('does not change a file in a newer format, and releases the lock', async () => {
    store.close();
    const database = new sqlite.Database(file());
    database.exec('PRAGMA user_version = 99');
    database.close();
    await expect(open()).rejects.toThrow(/cannot be used: got format 99, expected 2; .*another --cache/);
    expect(folder()).toEqual(['answers.sqlite']);
    rmSync(file());
    store = await open();
  });

  it('refuses a folder that cannot be written', async () => {
    writeFileSync(join(directory, 'file'), '');
    const attempt = openAnswerStore(join(directory, 'file'), 'f');
    await expect(attempt).rejects.toThrow(/--cache: .* cannot be written/);
  });
});
