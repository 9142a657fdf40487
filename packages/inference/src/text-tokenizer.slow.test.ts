import { loadTokenizer } from '@meap/token-dataset';
import { expect, it } from 'vitest';
import { tinyModel } from './testing.ts';
import { openTextTokenizer } from './text-tokenizer.ts';

it('has the answer to every question at once, however the two threads take turns', async () => {
  const tokenizer = await openTextTokenizer(tinyModel, loadTokenizer(tinyModel));
  try {
    // A notice that comes too late is met once in some ten thousand questions.
    for (let i = 0; i < 60_000; i++) {
      const text = `a${i}`;
      if (tokenizer.decode(tokenizer.encode(text)) !== text) expect.fail(`wrong answer to ${text}`);
    }
  } finally {
    tokenizer.dispose();
  }
});
