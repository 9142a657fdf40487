import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { inRecipeWords } from './recipe-words.ts';

describe('inRecipeWords', () => {
  it.each([
    [
      'a.jsonl, line 2: malformed JSON; fix it, or skip bad records with onBadRecord',
      'a.jsonl, line 2: malformed JSON; fix it, or skip bad records with data.on_bad_record',
    ],
    ['lengthUpsampling.minLength: got -1', 'data.long_documents.min_tokens: got -1'],
    ['trainBpeTokenizer: vocabSize is 5', 'tokenizer.vocab_size is 5'],
    [
      '/data/textField/onBadRecord.txt: no column, set textField',
      '/data/textField/onBadRecord.txt: no column, set data.text_field',
    ],
    [`field 'textField' is missing`, `field 'textField' is missing`],
    ['data.files: got 3', 'data.files: got 3'],
  ])('%s', (message, expected) => {
    expect(inRecipeWords(message)).toBe(expected);
  });

  it('prefers the words of a command', () => {
    expect(inRecipeWords('lower maxNewTokens', { maxNewTokens: '--max-new-tokens' })).toBe(
      'lower --max-new-tokens',
    );
  });
});

/** What only callers of a package can get wrong. */
const KNOWN = new Set(['eosIdAfterCut', 'nextRow', 'numCharacters']);

it.each(['token-dataset', 'meap-masking', 'long-context-extension', 'sft-duplication'])(
  'translates every option in the messages of %s',
  (name) => {
    const folder = join(import.meta.dirname, '../..', name, 'src');
    const sources = readdirSync(folder).filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'));
    const unknown = sources.flatMap((file) => {
      const text = readFileSync(join(folder, file), 'utf8');
      const errors = text.match(/new \w*Error\([^;]*;/g) ?? [];
      const messages = errors.flatMap((error) => error.match(/`[^`]*`|'[^'\n]*'/g) ?? []);
      return messages.flatMap((message) => {
        const said = inRecipeWords(message.slice(1, -1).replace(/\$\{[^}]*\}/g, ''));
        return (said.match(/\b[a-z]+[A-Z]\w*/g) ?? []).filter((word) => !KNOWN.has(word));
      });
    });
    expect(unknown).toEqual([]);
  },
);
