import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LiteralEncoder } from './literal-encoder.ts';
import { tinyTokenizer } from './testing.ts';
import { addMaskToken, Tokenizer } from './tokenizer.ts';

const tokenizer = addMaskToken(tinyTokenizer);
const literal = new LiteralEncoder(tokenizer);
const special = new Set(literal.specialTokens.map(({ id }) => id));

describe('LiteralEncoder', () => {
  it('gives the ids of the tokenizer for text without special tokens', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme' }), async (text) => {
        fc.pre(literal.specialTokens.every(({ content }) => !text.includes(content)));
        const [{ ids }] = await literal.encode([text]);
        expect(ids).toEqual(await tokenizer.encode(text, { addSpecialTokens: false }));
      }),
      { numRuns: 60 },
    );
  });

  it('never returns a special id, and keeps all of the text', async () => {
    const pieces = fc.constantFrom('</s>', '<s>', '[MASK]', '<pad>', 'a', ' ', '<', '😀', 'é');
    await fc.assert(
      fc.asyncProperty(fc.array(pieces, { maxLength: 12 }), async (parts) => {
        const text = parts.join('');
        for (const continuing of [false, true]) {
          const [{ ids }] = await literal.encode([text], { continuing });
          expect([...ids].filter((id) => special.has(id))).toEqual([]);
          expect(await tokenizer.decode(ids)).toBe(text);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('returns offsets of tokens, in UTF-16 code units', async () => {
    const text = 'é😀 </s> the 😀end';
    const [{ ids, starts, ends }] = await literal.encode([text]);
    expect(starts[0]).toBe(0);
    expect(ends.at(-1)).toBe(text.length);
    for (let i = 1; i < ids.length; i++) expect(starts[i]).toBeGreaterThanOrEqual(starts[i - 1]);
    const last = await Promise.all([...ids.slice(-3)].map((id) => tokenizer.decode([id])));
    expect(text.endsWith(last.join(''))).toBe(true);
    expect(text.slice(starts.at(-1)!, ends.at(-1)!)).toBe(last.at(-1));
  });

  it('adds the leading space of Metaspace only at the start of a document', async () => {
    const contents = JSON.parse(tokenizer.json);
    contents.pre_tokenizer = {
      type: 'Sequence',
      pretokenizers: [{ type: 'Metaspace', replacement: 'Ġ', prepend_scheme: 'first', split: true }],
    };
    const metaspace = new LiteralEncoder(new Tokenizer(JSON.stringify(contents), tokenizer.config, 'test'));
    const [opening] = await metaspace.encode(['the']);
    const [continuing] = await metaspace.encode(['the'], { continuing: true });
    const tokens = (ids: Int32Array) => [...ids].map((id) => tokenizer.idToToken(id)).join('');
    expect(tokens(opening.ids)).toBe('Ġthe');
    expect(tokens(continuing.ids)).toBe('the');
  });
});
