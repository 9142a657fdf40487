/** Recipes that somebody made to do harm: they are read or refused, a line a problem. */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { devNull, tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ConfigurationError } from './errors.ts';
import { parseConfig } from './parse-config.ts';
import { readRecipe } from './read-recipe.ts';
import { count, flag, share, text, texts } from './schema-keys.ts';

const RUNS = Number(process.env.MEAP_FUZZ_RUNS ?? 50);
const root = mkdtempSync(join(tmpdir(), 'meap-recipe-fuzz-'));
afterAll(() => rmSync(root, { recursive: true }));

const schema = z.strictObject({
  data: z.strictObject({ files: texts('Files.') }).optional(),
  train: z.strictObject({ max_steps: count('Steps.'), ratio: share('Share.').default(0.1) }).optional(),
  name: text('A name.').optional(),
  dry: flag('Dry.').default(false),
});
const rules = { paths: [['data', 'files']], alternatives: [['data', 'files', 'npm']] } as const;
const good =
  'extends: base.yaml\nname: "a"\ndata: &d\n  files: [a.txt, "b c.txt"]\ntrain:\n  max_steps: 1e2\n  ratio: .5\n';
writeFileSync(join(root, 'base.yaml'), 'dry: true\n');

function expectReadOrRefused(recipe: string, overrides: string[] = []): boolean {
  const path = join(root, 'recipe.yaml');
  writeFileSync(path, recipe);
  try {
    parseConfig(schema, readRecipe(path, overrides, rules));
    return false;
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError);
    for (const problem of (error as ConfigurationError).problems) {
      expect(problem).not.toContain('\n');
      expect(problem.length).toBeLessThan(1000);
    }
    return true;
  }
}

describe('a recipe', () => {
  it('with changes anywhere is read or refused', () => {
    const piece = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 6 }),
      fc.constantFrom(
        '*d',
        '&d ',
        '!!js/function ',
        '!!binary ',
        '<<: *d',
        '__proto__: ',
        '? ',
        '- ',
        '\t',
        '{',
        '|\n',
        '%YAML 9\n',
      ),
    );
    const place = fc.nat({ max: good.length });
    const changes = fc.array(fc.tuple(place, fc.nat({ max: 5 }), piece), { minLength: 1, maxLength: 3 });
    let refused = 0;
    fc.assert(
      fc.property(changes, (list) => {
        const recipe = list.reduce(
          (at, [from, drop, insert]) => at.slice(0, from) + insert + at.slice(from + drop),
          good,
        );
        refused += Number(expectReadOrRefused(recipe));
      }),
      { numRuns: RUNS, seed: 5 },
    );
    expect(refused).toBeGreaterThan(RUNS / 10);
    expect(refused).toBeLessThan(RUNS);
    expect(({} as { dry?: unknown }).dry).toBeUndefined();
  });

  it('with any override is read or refused', () => {
    const keys = fc.constantFrom(
      'train.max_steps',
      'data',
      'data.files',
      'name',
      '__proto__.dry',
      'constructor.prototype',
      'a',
    );
    const values = fc.oneof(fc.string({ unit: 'binary', maxLength: 12 }), fc.json());
    fc.assert(
      fc.property(keys, values, (key, value) => {
        expectReadOrRefused(good, [`${key}=${value}`]);
      }),
      { numRuns: RUNS, seed: 6 },
    );
    expect(({} as { dry?: unknown }).dry).toBeUndefined();
  });

  it('that grows when it is read, or nests without end, is refused', () => {
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
    for (let i = 1; i < 12; i++)
      lines.push(
        `a${i}: &a${i} [${Array(10)
          .fill(`*a${i - 1}`)
          .join(', ')}]`,
      );
    expect(expectReadOrRefused(lines.join('\n'))).toBe(true);
    for (const depth of [1000, 50_000]) {
      expect(expectReadOrRefused('['.repeat(depth))).toBe(true);
      expect(expectReadOrRefused(`name: ${'['.repeat(depth)}${']'.repeat(depth)}`)).toBe(true);
      expect(expectReadOrRefused(good, [`name=${'['.repeat(depth)}${']'.repeat(depth)}`])).toBe(true);
    }
    expect(expectReadOrRefused('a: &a [*a]')).toBe(true);
    // The parser takes the square of these, or ends the process.
    for (const open of ['[', '{', '{a: ', '- ', '? ', '"', '!a ', '&a ', 'a: 1\n', '%a\n']) {
      const megabyte = open.repeat(2 ** 20 / open.length);
      expect(expectReadOrRefused(megabyte)).toBe(true);
      expect(expectReadOrRefused(good, [`name=${megabyte}`])).toBe(true);
    }
    expect(expectReadOrRefused(good, [`${'a.'.repeat(50_000)}b=1`])).toBe(true);
    const empty = Array.from(
      { length: 12 },
      (_, i) => `a${i}: &a${i} [${i ? `*a${i - 1}, `.repeat(9) : ''}]`,
    );
    expect(expectReadOrRefused(empty.join('\n'))).toBe(true);
  });

  it('that extends many others in a row, or itself by another name, is refused', () => {
    for (let i = 0; i < 40; i++)
      writeFileSync(join(root, `chain-${i}.yaml`), `extends: chain-${i + 1}.yaml\n`);
    writeFileSync(join(root, 'chain-40.yaml'), 'name: end\n');
    expect(readRecipe(join(root, 'chain-30.yaml'), [], rules)).toEqual({ name: 'end' });
    expect(() => readRecipe(join(root, 'chain-0.yaml'), [], rules)).toThrow(
      /chain-16\.yaml .*: more than 16 recipes in a chain of extends/,
    );
    symlinkSync(root, join(root, 'here'));
    writeFileSync(join(root, 'loop.yaml'), 'extends: here/loop.yaml\n');
    expect(() => readRecipe(join(root, 'loop.yaml'), [], rules)).toThrow(/more than 16 recipes in a chain/);
  });

  it('that is not text, or far too large, is refused', () => {
    writeFileSync(join(root, 'binary.yaml'), Buffer.from([0xff, 0xfe, 0, 1, 2, 3]));
    expect(() => parseConfig(schema, readRecipe(join(root, 'binary.yaml'), [], rules))).toThrow(
      ConfigurationError,
    );
    expect(expectReadOrRefused(`name: ${'x'.repeat(20e6)}`)).toBe(true);
    if (process.platform !== 'win32')
      expect(() => readRecipe('/dev/zero', [], rules)).toThrow(/got more than 1048576 bytes/);
    expect(readRecipe(devNull, ['name=a'], rules)).toEqual({ name: 'a' });
  });
});
