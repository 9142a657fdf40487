import { Ajv } from 'ajv';
import * as ajvFormats from 'ajv-formats';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { tinyTokenizer } from '../testing.ts';
import { TokenTexts } from '../token-texts.ts';
import { ConstrainedTexts } from './constrained-texts.ts';
import type { Grammar } from './grammar.ts';
import { anyObject, schemaGrammar } from './json-schema.ts';
import { SchemaError } from './schema-keywords.ts';
import { FORMATS } from './string-formats.ts';

const texts = new TokenTexts(tinyTokenizer);
const constrained = new ConstrainedTexts(tinyTokenizer, texts);
const END = tinyTokenizer.eosTokenId!;
await texts.load(tinyTokenizer.ordinaryIds());
/** Tokens of JSON's own characters, preferred half of the time so that texts end. */
const structural = new Set(
  [...tinyTokenizer.ordinaryIds()].filter((id) => /^["}\]:,0]+$/.test(texts.shown(id))),
);

/** A random text that a grammar allows; undefined if it does not end. */
async function randomText(
  grammar: Grammar,
  draw: () => number,
  maxTokens = 3000,
): Promise<string | undefined> {
  const constraint = (await constrained.open(grammar)).start({ stopIds: [END], beginsText: true });
  const bytes: number[] = [];
  for (let n = 0; n < maxTokens; n++) {
    const mask = constraint.mask();
    const allowed = [...Array(tinyTokenizer.vocabSize).keys()].filter(
      (id) => (mask[id >> 5] >>> (id & 31)) & 1,
    );
    const closing = allowed.filter((id) => id === END || structural.has(id));
    const from = closing.length > 0 && draw() < 0.5 ? closing : allowed;
    const id = from[Math.floor(draw() * from.length)];
    expect(id, 'no token is allowed').toBeDefined();
    if (id === END) return Buffer.from(bytes).toString();
    bytes.push(...texts.bytes(id));
    if (constraint.accept(id)) return Buffer.from(bytes).toString();
  }
  return undefined;
}

function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0;
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32;
  };
}

const ajv = new Ajv({ strict: false, validateSchema: false });
(ajvFormats.default as unknown as ajvFormats.FormatsPlugin)(ajv);

const name = fc.oneof(
  fc.constantFrom('a', 'name', 'é"\\', '😀', 'na'),
  fc.string({ maxLength: 4, unit: 'binary' }),
);
const bounds = fc
  .tuple(fc.integer({ min: -1200, max: 1200 }), fc.nat(400), fc.boolean(), fc.boolean())
  .map(([low, width, isMinOpen, isMaxOpen]) => ({
    [isMinOpen ? 'exclusiveMinimum' : 'minimum']: low,
    [isMaxOpen ? 'exclusiveMaximum' : 'maximum']: low + width + 2,
  }));
/** An object that one property tells apart from others. */
const A = { type: 'object', properties: { is: { const: 'a' } }, required: ['is'] };
const { schema } = fc.letrec<{ schema: object }>((tie) => ({
  schema: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(
      { type: 'boolean' },
      { type: ['null', 'integer'] },
      { type: 'number' },
      { type: 'string' },
      { $ref: '#/$defs/tree' },
    ),
    fc.tuple(fc.constantFrom('integer', 'number'), bounds).map(([type, of]) => ({ type, ...of })),
    fc.record({
      type: fc.constant('string'),
      minLength: fc.nat(3),
      maxLength: fc.integer({ min: 3, max: 5 }),
    }),
    fc
      .constantFrom('^[a-c]{2,3}(-\\d+)?$', 'é|"', '^[^"x]\\\\?$', '^(?:a|bc)*$', '[\\u{1F600}-\\u{1F64F}]')
      .map((pattern) => ({ type: 'string', pattern })),
    tie('schema').map((of) => ({
      oneOf: [{ ...A, properties: { ...A.properties, of } }, { $ref: '#/$defs/b' }],
    })),
    fc.constant({
      oneOf: [{ type: ['string', 'null'], format: 'date', pattern: '^2000-01-0[1-9]$' }, { type: 'number' }],
    }),
    fc.constantFrom(...FORMATS.keys()).map((format) => ({ type: 'string', format })),
    fc.record({ enum: fc.array(fc.jsonValue({ maxDepth: 2 }), { minLength: 1, maxLength: 4 }) }),
    fc.record({ anyOf: fc.array(tie('schema'), { minLength: 1, maxLength: 3 }) }),
    fc.record({
      type: fc.constant('array'),
      items: tie('schema'),
      minItems: fc.nat(2),
      maxItems: fc.integer({ min: 2, max: 3 }),
    }),
    fc.record({
      type: fc.constant('array'),
      prefixItems: fc.array(tie('schema'), { minLength: 1, maxLength: 2 }),
    }),
    fc
      .tuple(
        fc.dictionary(name, tie('schema'), { maxKeys: 4 }),
        fc.array(fc.boolean()),
        fc.option(fc.oneof(fc.boolean(), tie('schema')), { nil: undefined }),
      )
      .map(([properties, flags, additionalProperties]) => ({
        type: 'object',
        properties,
        required: Object.keys(properties).filter((_, i) => flags[i]),
        ...(additionalProperties !== undefined && { additionalProperties }),
      })),
  ),
}));
const $defs = {
  b: { ...A, properties: { is: { enum: ['b', 'c'] } } },
  tree: {
    type: 'object',
    properties: { left: { $ref: '#/$defs/tree' }, value: { type: 'integer' } },
    required: ['value'],
    additionalProperties: false,
  },
};

describe('schemaGrammar', () => {
  test('property: every text is JSON and valid', async () => {
    let numEnded = 0;
    await fc.assert(
      fc.asyncProperty(schema, fc.integer(), async (root, seed) => {
        const whole = { ...root, $defs };
        const text = await randomText(schemaGrammar(whole), generator(seed));
        if (text === undefined) return;
        numEnded++;
        const validate = ajv.compile(whole);
        expect(
          validate(JSON.parse(text)),
          `${JSON.stringify(whole)}: ${text}: ${ajv.errorsText(validate.errors)}`,
        ).toBe(true);
      }),
      { numRuns: Number(process.env.RUNS ?? 25) },
    );
    expect(numEnded).toBeGreaterThan(20);
  });

  test.each([
    ['{"a": [1, {"b": null}], "é": "\\u00e9"}', {}],
    ['{"n": -1.50e-7}', { n: { type: 'number' } }],
    ['{\n  "a": "x",\n  "b": [\n    1\n  ]\n}', { a: { type: 'string' }, b: { type: 'array' } }],
  ])('allows %s', async (text, properties) => {
    const grammar =
      Object.keys(properties).length > 0 ? schemaGrammar({ type: 'object', properties }) : anyObject();
    const constraint = (await constrained.open(grammar)).start({ stopIds: [END], beginsText: true });
    const ids = await tinyTokenizer.encode(text, { addSpecialTokens: false });
    const isAllowed = Array.from(ids, (id, i) => {
      const mask = constraint.mask();
      // A stop id only where the text is complete, which an object at its last brace is without one.
      expect((mask[END >> 5] >>> (END & 31)) & 1).toBe(0);
      return ((mask[id >> 5] >>> (id & 31)) & 1) === 1 && constraint.accept(id) === (i === ids.length - 1);
    });
    expect(isAllowed).not.toContain(false);
  });

  /** A chain of references that exhausts JavaScript's stack. */
  const chain = () => {
    const links = Array.from({ length: 20_000 }, (_, i) => [i, { $ref: `#/$defs/${i + 1}` }]);
    return { $ref: '#/$defs/0', $defs: Object.fromEntries([...links, [20_000, { type: 'null' }]]) };
  };
  test.each([
    [null, '', 'got null, expected a JSON Schema object'],
    [{ not: {} }, '', 'keyword "not" is not supported, expected type, enum, const, anyOf, oneOf, $ref'],
    [{ properties: { a: { multipleOf: 2 } } }, 'properties.a', 'keyword "multipleOf" is not supported'],
    [
      { properties: { a: { type: 'string', minimum: 1 } } },
      'properties.a',
      'keyword "minimum" does not apply to type string',
    ],
    [{ type: 'text' }, '', 'type: got "text", expected string, number, integer'],
    [{ oneOf: [{ type: 'integer' }, { type: 'number' }] }, '', 'oneOf: got options that may overlap'],
    [{ oneOf: [{ $ref: '#' }, {}] }, '', 'oneOf: got options that may overlap'],
    [{ oneOf: [{ properties: null }, { properties: null }] }, '', 'oneOf: got options that may overlap'],
    [{ anyOf: [] }, '', 'anyOf: got 0, expected a list of 1 to 1000'],
    [{ anyOf: [{}], type: 'null' }, '', 'keyword "type" is not supported beside anyOf'],
    [{ $ref: '#/$defs/__proto__' }, '', '$ref: got "#/$defs/__proto__", expected a schema of this document'],
    [{ $ref: 'https://example.com' }, '', 'expected a schema of this document'],
    [{ $ref: '#/%' }, '', 'expected a schema of this document'],
    [{ $ref: '#' }, '', 'a $ref leads back to itself without a value between'],
    [
      { $defs: { a: { anyOf: [{ $ref: '#/$defs/a' }, { type: 'null' }] } }, $ref: '#/$defs/a' },
      '',
      'leads back to itself',
    ],
    [{ properties: { a: { $ref: '#' } }, required: ['a'] }, '', 'no finite value satisfies it'],
    [
      { type: 'object', required: ['b'], properties: { a: {} } },
      '',
      'required: got "b", expected names of properties',
    ],
    [{ enum: [1, 'a'], type: 'null' }, '', 'no value satisfies all of them'],
    [{ type: 'integer', minimum: 0.2, maximum: 0.8 }, '', 'no number of at most 15 digits is between'],
    [{ type: 'number', minimum: 0.5 }, '', 'minimum: got 0.5, expected a whole number'],
    [{ type: 'number', exclusiveMinimum: 3, maximum: 3 }, '', 'no number of at most 15 digits'],
    [{ type: 'string', maxLength: -1 }, '', 'maxLength: got -1, expected an integer of at least 0'],
    [{ type: 'string', format: 'regex' }, '', 'format: got "regex", expected date, time'],
    [{ pattern: '(?=a)b' }, '', 'pattern: got "(?=a)b", not supported from character'],
    [{ pattern: '(' }, '', 'pattern: got "(", expected a regular expression'],
    [{ pattern: '((a{1000}){1000}){1000}' }, '', 'got more than 50000 nodes, expected fewer'],
    [{ type: 'array', minItems: 9, maxItems: 2 }, '', 'got at least 9 items and at most 2'],
    [{ properties: { ['a'.repeat(300)]: {} } }, '', 'got a name of 300 characters, expected at most 256'],
    [chain, '', 'nested too deeply'],
  ])('refuses %j', (refused, path, message) => {
    let error: unknown;
    try {
      schemaGrammar(typeof refused === 'function' ? refused() : refused);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(SchemaError);
    expect((error as SchemaError).path).toBe(path);
    expect((error as SchemaError).message).toContain(message);
  });

  test('equal grammars share their states, also as views of a message', async () => {
    const { nodes, start } = schemaGrammar({ enum: ['a', 'b'] });
    const message = Int32Array.of(7, ...nodes, 9);
    const view = { nodes: message.subarray(1, nodes.length + 1), start };
    const open = await constrained.open(view);
    message.fill(0);
    expect(await constrained.open({ nodes, start })).toBe(open);
    const constraint = open.start({ stopIds: [END], beginsText: true });
    expect(constraint.mask().some((word) => word !== 0)).toBe(true);
  });

  test('an ambiguous recursive schema costs bounded time', async () => {
    // Each level doubles the number of ways.
    const node = { type: 'object', properties: { a: { $ref: '#' } }, additionalProperties: false };
    const grammar = schemaGrammar({ anyOf: [node, { ...node, title: 'again' }] });
    const constraint = (await constrained.open(grammar)).start({ stopIds: [END], beginsText: true });
    for (const id of await tinyTokenizer.encode('{"a":'.repeat(24), { addSpecialTokens: false }))
      constraint.accept(id);
    expect(constraint.mask().some((word) => word !== 0)).toBe(true);
  });
});
