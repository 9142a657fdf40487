import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodePair, scorePairs } from './encode-pair.ts';
import { EvalsError } from './error.ts';
import { BOS, characters, EOS } from './testing.ts';

describe('encodePair', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '\n', 'é', '🧊'), maxLength: 12 });

  test('with a tokenizer of characters: context and continuation are the whole text, white space moves', () => {
    fc.assert(
      fc.property(text, text, fc.boolean(), (before, after, bos) => {
        const { context, continuation } = encodePair(characters, before, after, { bos });
        const ids = [...context, ...continuation];
        const isEmpty = before.trim() === '';
        expect(ids).toEqual([...(bos || isEmpty ? [BOS] : []), ...characters.encode(before + after)]);
        expect(context.length).toBeGreaterThan(0);
        expect(characters.decode(context)).toBe(before.trimEnd());
      }),
    );
  });

  test('starts an empty context with one BOS, or EOS without BOS', () => {
    const bare = { ...characters, bosId: undefined };
    expect(encodePair(characters, '', 'a').context).toEqual([BOS]);
    expect(encodePair(characters, ' ', 'a')).toEqual({
      context: [BOS],
      continuation: characters.encode(' a'),
    });
    expect(encodePair(bare, '', 'a').context).toEqual([EOS]);
    const beginning = { ...characters, encode: (text: string) => [BOS, ...characters.encode(text)] };
    expect(
      encodePair({ ...beginning, encode: (text) => (text === '' ? [] : beginning.encode(text)) }, '', 'a'),
    )
      // The tokenizer has its own BOS.
      .toEqual({ context: [BOS], continuation: characters.encode('a') });
  });

  test('refuses BOS of a tokenizer without one', () => {
    const none = { ...characters, bosId: undefined, eosId: undefined };
    expect(() => encodePair(none, 'a', 'b', { bos: true })).toThrow(EvalsError);
    expect(() => encodePair(none, '', 'b')).toThrow('neither BOS nor EOS');
  });
});

describe('scorePairs', () => {
  const model = { tokenizer: characters, contextLength: 5 };

  test('truncates contexts from the left to at least one token', () => {
    expect(scorePairs(model, [['abcdefgh', 'xy']])).toEqual({
      kind: 'score',
      requests: [{ context: characters.encode('efgh'), continuation: characters.encode('xy') }],
    });
    expect(scorePairs(model, [['abc', 'vwxyz']])).toMatchObject({
      requests: [{ context: characters.encode('c') }],
    });
  });

  test('skips rows that cannot be scored, with the reason', () => {
    expect(scorePairs(model, [['a', 'uvwxyz']])).toEqual({
      kind: 'skip',
      reason: '6 tokens to score, the model reads 5',
    });
    expect(scorePairs(model, [['a', '']])).toEqual({ kind: 'skip', reason: 'no separate token in ""' });
  });
});
