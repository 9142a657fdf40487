import { loadTokenizer } from '@meap/token-dataset';
import { expect, it } from 'vitest';
import { tinyModel } from './testing.ts';
import { openTextTokenizer } from './text-tokenizer.ts';

it('returns the right result regardless of the scheduling of the threads', async () => {
  const tokenizer = await openTextTokenizer(tinyModel, loadTokenizer(tinyModel));
  try {
    // A late notification occurs about once in ten thousand calls.
    for (let i = 0; i < 20_000; i++) {
      const text = `a${i}`;
      if (tokenizer.decode(tokenizer.encode(text)) !== text) expect.fail(`wrong answer to ${text}`);
    }
  } finally {
    tokenizer.dispose();
  }
});
