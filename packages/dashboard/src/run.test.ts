/** Run directories in which any field of any file may have any type. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { parsePlainYaml } from './plain-yaml.ts';
import { Run } from './run.ts';
import { MAX_ROWS } from './shared/table.ts';
import { pack } from './shared/wire.ts';
import { makeRun } from './testing.ts';

const root = mkdtempSync(join(tmpdir(), 'meap-run-'));
afterAll(() => rmSync(root, { recursive: true }));

const odd = fc.constantFrom<unknown>(
  { toString: 1 },
  { toString: null, valueOf: 2 },
  { __proto__: null },
  [[]],
  {
    toJSON: 1,
  },
);
const anything = fc.oneof(
  fc.jsonValue(),
  fc.double({ noNaN: true }),
  fc.constantFrom(1e308, -1e308, -1, 0.5),
  odd,
);
const record = (...keys: string[]) =>
  fc.record(Object.fromEntries(keys.map((key) => [key, anything])), { requiredKeys: [] });
const lines = (line: fc.Arbitrary<unknown>) =>
  fc
    .array(
      fc.oneof(line, anything).map((value) => JSON.stringify(value)),
      { maxLength: 8 },
    )
    .map((all) => `${all.join('\n')}\n`);
const json = (value: fc.Arbitrary<unknown>) => fc.oneof(value, anything).map((one) => JSON.stringify(one));

const step = fc.oneof(fc.integer({ min: 1, max: 5 }), anything);
const metrics = fc
  .tuple(
    record(
      'tokens',
      'loss',
      'zLoss',
      'lr',
      'gradNorm',
      'tokensPerSecond',
      'mfu',
      'residentBytes',
      'anomaly',
      'skipped',
      'parts',
    ),
    fc.record(
      {
        step,
        valLoss: anything,
        bitsPerByte: anything,
        probes: fc.oneof(
          anything,
          fc.dictionary(fc.constantFrom('a/b', 'c/d', 'a/b/c', '__proto__'), anything),
        ),
      },
      { requiredKeys: ['step'] },
    ),
  )
  .map(([a, b]) => ({ ...a, ...b }));
const batch = fc.record(
  {
    step: anything,
    rows: fc.oneof(
      anything,
      fc.array(
        fc.oneof(
          anything,
          fc.record({
            numTokens: anything,
            numMasked: anything,
            isCut: anything,
            pieces: fc.oneof(anything, fc.array(fc.oneof(anything, record('text', 'kind', 'part')))),
          }),
        ),
      ),
    ),
  },
  { requiredKeys: [] },
);
const files = fc.record({
  'metrics.jsonl': lines(metrics),
  'samples.jsonl': lines(fc.record({ step, prompt: anything, text: anything }, { requiredKeys: ['step'] })),
  'batch.json': json(batch),
  'environment.json': json(record('run', 'backend', 'cpu')),
  'run.lock': json(record('pid', 'boot', 'namespaces')),
  'config.yaml': fc.oneof(
    json(record('train')),
    fc.string(),
    fc.constantFrom('train:\n', 'train: 1', '__proto__: {a: 1}'),
  ),
});

describe('a run directory', () => {
  it('yields numbers and strings where expected, regardless of the contents of its files', async () => {
    await fc.assert(
      fc.asyncProperty(files, async (files) => {
        for (const [name, content] of Object.entries(files)) writeFileSync(join(root, name), content);
        const run = new Run({ path: root, name: 'run' });
        await run.refresh();
        await run.readCurves();
        const { step, tokens, loss, totalSteps, device, parameters, secondsLeft, state } = run.summary;
        expect([step, tokens].every(Number.isFinite)).toBe(true);
        for (const value of [loss, totalSteps, parameters, secondsLeft]) {
          expect(value === null || Number.isFinite(value)).toBe(true);
        }
        expect([typeof device, typeof state]).toEqual(['string', 'string']);
        const samples = await run.samples(null);
        for (const { prompt, text } of samples.rows)
          expect([typeof prompt, typeof text]).toEqual(['string', 'string']);
        for (const value of Object.values(await run.config())) expect(typeof value).toBe('string');
        for (const { numTokens, numMasked, pieces } of (await run.batch())?.rows ?? []) {
          expect([numTokens, numMasked].every(Number.isFinite)).toBe(true);
          for (const { text, kind, part = '' } of pieces) {
            expect([typeof text, typeof part]).toEqual(['string', 'string']);
            expect(kind).toMatch(/^(plain|masked|prompt)$/);
          }
        }
        const { series } = run;
        for (const [name, column] of Object.entries(series!.probes.values)) {
          expect(name).toMatch(/^[^/]+\/[^/]+$/);
          expect(column).toHaveLength(series!.probes.step.length);
          expect(column.every((value) => value === null || Number.isFinite(value))).toBe(true);
        }
        JSON.stringify([
          run.summary,
          samples,
          pack(series!.table(0, series!.length, MAX_ROWS)),
          series!.anomalies,
          series!.probes,
        ]);
      }),
      { numRuns: 25 },
    );
  });

  it('has the step, loss and pace of its training lines, whatever was measured after them', async () => {
    const path = makeRun(root, 'probed', 3);
    appendFileSync(
      join(path, 'metrics.jsonl'),
      '{"step":3,"tokens":300,"probes":{"a/x":1},"seconds":1}\n{"step":3,"valLoss":2}\n',
    );
    const run = new Run({ path, name: 'run' });
    await run.refresh();
    const { step, tokens, tokensPerSecond, valLoss } = run.summary;
    expect([step, tokens, tokensPerSecond, valLoss]).toEqual([3, 300, 1000, 2]);
    expect(run.summary.loss).toBeGreaterThan(6);
  });

  it('is read despite nesting that overflows the stack', async () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    writeFileSync(join(root, 'samples.jsonl'), `{"step":1,"prompt":${deep},"text":"b"}\n`);
    writeFileSync(join(root, 'config.yaml'), deep);
    writeFileSync(join(root, 'batch.json'), `{"rows":[{"pieces":[{"text":${deep}}]}]}`);
    writeFileSync(
      join(root, 'environment.json'),
      `{"run":${deep},"backend":{"device":${deep}},"cpu":${deep}}`,
    );
    const run = new Run({ path: root, name: 'run' });
    await run.refresh();
    expect((await run.samples(null)).rows).toEqual([{ prompt: '…', text: 'b' }]);
    expect(await run.config()).toEqual({});
    expect((await run.batch())?.rows[0].pieces).toEqual([{ text: '…', kind: 'plain' }]);
  });
});

describe('parsePlainYaml', () => {
  it('parses ordinary YAML', () => {
    expect(parsePlainYaml('a: &x [1, {b: "c"}]\nd: *x\n')).toEqual({
      a: [1, { b: 'c' }],
      d: [1, { b: 'c' }],
    });
    expect(parsePlainYaml(`a:\n${'  - b\n'.repeat(3000)}`)).toEqual({ a: Array(3000).fill('b') });
  });

  it('refuses input that would take too long or overflow the stack', () => {
    for (const open of ['[', '{', '{a: ', '- ', '? ', ': ', '[{']) {
      expect(() => parsePlainYaml(open.repeat(100_000 / open.length))).toThrow(/^(nested deeper|more than) /);
      expect(() => parsePlainYaml(open.repeat(200))).toThrow(/^nested deeper than 64 levels/);
    }
    const indented = Array.from({ length: 100 }, (_, i) => `${' '.repeat(i)}a:`).join('\n');
    expect(() => parsePlainYaml(indented)).toThrow(/^nested deeper/);
    for (const many of ['"', '!a ', '&a ', 'a: 1\n', '- b\n', '%a\n', '#\n', '---\n']) {
      expect(() => parsePlainYaml(many.repeat(100_000))).toThrow(/^more than 20000 tokens/);
    }
    for (const leaf of ['', '1']) {
      const bomb = Array.from(
        { length: 12 },
        (_, i) => `a${i}: &a${i} [${i ? `*a${i - 1}, `.repeat(9) : leaf}]`,
      );
      expect(() => parsePlainYaml(bomb.join('\n'))).toThrow(/alias/);
    }
    expect(() => parsePlainYaml('a: &a [*a]')).toThrow(/aliases expand to more/);
  });
});
