import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ConfigurationError } from './errors.ts';
import { configToYaml, parseConfig } from './parse-config.ts';
import { count, oneOf, recipeJsonSchema, share } from './schema-keys.ts';

const schema = z.strictObject({
  name: oneOf(['a', 'b'], 'A name.').default('a'),
  train: z
    .strictObject({ max_steps: count('Steps.').default(10), ratio: share('A share.').default(0.1) })
    .describe('How.')
    .prefault({}),
  extra: z.strictObject({ rank: count('Rank.').default(8) }).optional(),
});
const problems = (input: unknown): readonly string[] => {
  try {
    parseConfig(schema, input);
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems;
    throw error;
  }
  return [];
};

describe('parseConfig', () => {
  it('fills in defaults', () => {
    expect(parseConfig(schema, {})).toEqual({ name: 'a', train: { max_steps: 10, ratio: 0.1 } });
    expect(parseConfig(schema, { extra: {} }).extra).toEqual({ rank: 8 });
  });

  it('removes keys that are null, if known', () => {
    const none = { name: null, train: { max_steps: null, ratio: 0.5 }, extra: null };
    expect(parseConfig(schema, none)).toEqual({ name: 'a', train: { max_steps: 10, ratio: 0.5 } });
    // What YAML makes of {rank:8}, without the space.
    expect(problems({ extra: { 'rank:8': null } })).toEqual([
      'extra.rank:8: unknown key; did you mean rank?; allowed here: rank',
    ]);
  });

  it.each([
    [
      { train: { max_stps: 1 } },
      'train.max_stps: unknown key; did you mean max_steps?; allowed here: max_steps, ratio',
    ],
    [{ extra: { rnk: 1 } }, 'extra.rnk: unknown key; did you mean rank?; allowed here: rank'],
    [{ trian: {} }, 'trian: unknown key; did you mean train?; allowed here: name, train, extra'],
    [
      { max_steps: 1 },
      'max_steps: unknown key; did you mean train.max_steps?; allowed here: name, train, extra',
    ],
    [{ extra: { name: 'a' } }, 'extra.name: unknown key; did you mean name?; allowed here: rank'],
    [
      { train: { num_steps: 5 } },
      'train.num_steps: unknown key; write train.max_steps: 5; allowed here: max_steps, ratio',
    ],
    [{ train: { ratio: 1 } }, 'train.ratio: got 1, expected a number from 0 and below 1'],
    [{ train: { max_steps: 0.5 } }, 'train.max_steps: got 0.5, expected a whole number above 0'],
    [{ train: 3 }, 'train: got 3, expected keys with values (max_steps, ratio)'],
    [{ name: 'c' }, 'name: got "c", expected one of a, b'],
    [{ name: 'http://me:pw@host/v1' }, 'name: got "http://***@host/v1", expected one of a, b'],
    [{ name: 'x'.repeat(100) }, `name: got "${'x'.repeat(76)}..., expected one of a, b`],
    [null, 'configuration: got null, expected keys with values (name, train, extra)'],
  ])('%j', (input, expected) => {
    expect(problems(input)).toEqual([expected]);
  });

  it('knows the keys of nested sections with any name', () => {
    const parts = z.record(z.string(), z.strictObject({ files: z.string().optional() }));
    const nested = z.strictObject({ data: z.strictObject({ parts: parts.optional() }) });
    expect(() => parseConfig(nested, { data: { parts: { a: { file: 'x' } } } })).toThrow(
      'data.parts.a.file: unknown key; did you mean files?; allowed here: files',
    );
  });

  it('names every problem', () => {
    expect(problems({ name: 1, train: { ratio: 2, x: 1 } })).toHaveLength(3);
  });
});

it('a JSON Schema has descriptions and no limits that were not set', () => {
  const json = JSON.stringify(recipeJsonSchema(schema, 'A title'));
  expect(json).toContain('"description":"Steps."');
  expect(json).not.toContain(String(Number.MAX_SAFE_INTEGER));
});

it('YAML omits undefined values', () => {
  expect(configToYaml({ a: 1, b: undefined })).toBe('a: 1\n');
});
