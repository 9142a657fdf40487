import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { tinyTokenizer } from '../testing.ts';
import { TokenTexts } from '../token-texts.ts';
import { type ToolCallForm, ToolCallScanner } from '../tool-calls.ts';
import { Automaton, type State } from './automaton.ts';
import { ConstrainedTexts } from './constrained-texts.ts';
import type { Grammar } from './grammar.ts';
import { optionalToolCallGrammar } from './tool-grammar.ts';

const tags: ToolCallForm = { open: '<tool_call>\n', close: '\n</tool_call>', argumentsKey: 'arguments' };
const whole: ToolCallForm = { open: '', close: '', argumentsKey: 'parameters' };
const parameters = { type: 'object', properties: { at: { enum: ['sea', 'sky'] } }, required: ['at'] };
const names = ['look', 'look_up'];
const functions = names.map((name) => ({ name, parameters }));
const several = optionalToolCallGrammar(tags, functions, { isParallel: true });
const one = optionalToolCallGrammar(tags, functions, { isParallel: false });
const atStart = optionalToolCallGrammar(whole, functions, { isParallel: false });

/** The text up to the first byte that a grammar refuses, `…` where the text may not end there. */
function allowed(grammar: Grammar, text: string): string {
  const automaton = new Automaton(grammar);
  let state: State = automaton.start();
  const bytes = Buffer.from(text);
  for (const [at, byte] of bytes.entries()) {
    const next = automaton.step(state, byte);
    if (!next) return `${bytes.subarray(0, at)}✗`;
    state = next;
  }
  return state.isComplete ? text : `${text}…`;
}

const call = (name: string, at: string) =>
  `<tool_call>\n{"name": "${name}", "arguments": {"at": "${at}"}}\n</tool_call>`;

describe('with tags', () => {
  test.each(['', 'Hi é 😀', 'a < b <tool <<tool_cal> <tool_call', '{"name": "other"}', '</tool_call>'])(
    'any text stays as it is: %j',
    (text) => {
      for (const grammar of [several, one]) expect(allowed(grammar, text)).toBe(text);
    },
  );

  test('a call that has begun is one of a function', () => {
    for (const name of names) expect(allowed(one, `Well.${call(name, 'sky')}`)).toMatch(/<\/tool_call>$/);
    expect(allowed(one, '<<tool_call>')).toBe('<<tool_call>…');
    expect(allowed(one, '<tool_call>I')).toBe('<tool_call>✗');
    expect(allowed(one, call('sail', 'sea'))).toBe('<tool_call>\n{"name": "✗');
    expect(allowed(one, call('look', 'ship'))).toBe('<tool_call>\n{"name": "look", "arguments": {"at": "s✗');
    expect(allowed(one, call('look', 'sea').slice(0, -1))).toMatch(/…$/);
  });

  test('text and further calls follow only in parallel', () => {
    const two = `${call('look', 'sea')}\n${call('look_up', 'sky')} and so`;
    expect(allowed(several, two)).toBe(two);
    expect(allowed(one, two)).toBe(`${call('look', 'sea')}✗`);
  });
});

describe('without tags', () => {
  test.each([
    'It is {"name": "look"}',
    '{"at": "sea"}',
    '{"name": "Ishmael", "parameters": 3}',
    '{"name": "look_', // Not a name yet.
    '{',
    ' {\n"name" : "look" , "parameters": {"at": "sky"} }',
    '{"type": "function", "name": "look_up", "parameters": {"at": "sea"}}',
  ])('%j is allowed', (text) => {
    expect(allowed(atStart, text)).toBe(text);
  });

  test('a call that has begun is one of a function', () => {
    expect(allowed(atStart, '{"name": "look", "at": 1}')).toBe('{"name": "look", "✗');
    expect(allowed(atStart, '{"name": "look", "parameters": {"at": 1}}')).toMatch(/"at": ✗$/);
    expect(allowed(atStart, '{"type":"function","name":"look_up","parameters":{}}')).toMatch(/\{✗$/);
    expect(allowed(atStart, '{"name": "look", "parameters": {"at": "sea"}} So')).toMatch(/\}\}✗$/);
  });
});

test.each([
  ['with tags', tags, several],
  ['without tags', whole, atStart],
])('every call found in an allowed text has arguments of the schema, %s', (_, form, grammar) => {
  const piece = fc.constantFrom(
    ...['<tool_call>', '\n', '{"name": "', 'look', '_up', '", "', form.argumentsKey, '": {"at": "sea"}'],
    ...['": {"at": "ship"}', '}', '\n</tool_call>', 'text ', '{', ' ', '"type": "function", "name": "'],
  );
  let numCalls = 0;
  const check = fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
    const text = pieces.join('');
    if (allowed(grammar, text) !== text) return;
    const scanner = new ToolCallScanner(form, { names, maxCalls: 9 });
    const found = [...scanner.push(text).calls, ...scanner.end().calls];
    for (const { arguments: given } of found) expect(['sea', 'sky']).toContain(JSON.parse(given).at);
    numCalls += found.length;
  });
  const head = `${form.open}{"name": "look", "${form.argumentsKey}": {"at": "`;
  const examples = ['sea', 'ship'].map((at): [string[]] => [[`${head}${at}"}}${form.close}`]]);
  fc.assert(check, { numRuns: 2000, examples });
  expect(numCalls).toBeGreaterThan(0);
});

test('many functions with long names have a grammar too', () => {
  const many = Array.from({ length: 128 }, (_, i) => ({ name: `function_${i}_of_a_server`, parameters }));
  for (const form of [tags, whole]) {
    const grammar = optionalToolCallGrammar(form, many, { isParallel: false });
    const text = `${form.open}{"name": "function_99_of_a_server", "${form.argumentsKey}": {"at": `;
    expect(allowed(grammar, `${text}"sky"}}${form.close}`)).toMatch(/[>}]$/);
    expect(allowed(grammar, `${text}"ship"`)).toMatch(/✗$/);
  }
});

test('tokens after a tag are masked to a call', async () => {
  const texts = new TokenTexts(tinyTokenizer);
  const open = await new ConstrainedTexts(tinyTokenizer, texts).open(one);
  const end = tinyTokenizer.eosTokenId!;
  const constraint = open.start({ stopIds: [end], beginsText: true });
  const isAllowed = (id: number) => ((constraint.mask()[id >> 5] >>> (id & 31)) & 1) === 1;
  const encode = async (text: string) => [...(await tinyTokenizer.encode(text, { addSpecialTokens: false }))];
  for (const id of await encode('It is <tool_call>')) {
    expect(isAllowed(id) && isAllowed(end)).toBe(true);
    constraint.accept(id);
  }
  expect(isAllowed(end)).toBe(false);
  const ids = await encode(call('look', 'sea').slice('<tool_call>'.length));
  for (const [at, id] of ids.entries()) {
    expect(isAllowed(id)).toBe(true);
    expect(constraint.accept(id)).toBe(at === ids.length - 1);
  }
});
