/** RULER's prompts against those of RULER. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { rulerTask, rulerTaskNames } from './ruler.ts';
import { essays, promptHashes, realTokenizer, shortHash } from './testing-data.ts';

const fixture: { ruler: Record<string, [prompt: string, answers: string]> } = JSON.parse(
  readFileSync(new URL('../fixtures/long-context-prompts.json', import.meta.url), 'utf8'),
);
const cases = (['llama2', 'llama3_1'] as const).flatMap((tokenizer) =>
  rulerTaskNames.map((task) => ({ tokenizer, task })),
);

describe.skipIf(!existsSync(process.env.MEAP_DATA!))('prompts and answers are those of NVIDIA/RULER', () => {
  test.each(cases)('$task, $tokenizer', ({ tokenizer: name, task }) => {
    const tokenizer = realTokenizer(name);
    const options = { lengths: [2048, 4096], numSamples: 4, haystack: essays() };
    const made = rulerTask(task, options);
    const prompts = promptHashes(made, tokenizer);
    const wanted = Object.entries(fixture.ruler).filter(([id]) => id.startsWith(`${name} ${task} `));
    const shown = [...made.items({ tokenizer, contextLength: 1_000_000 })];
    const own = shown.map(({ id, shown: { answers } }) => [
      `${name} ${task} ${id}`,
      [prompts[id], shortHash((answers as string[]).join('\n'))],
    ]);
    expect(own).toEqual(wanted);
  });
});
