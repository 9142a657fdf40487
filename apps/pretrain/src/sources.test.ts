import { readFileSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { setFlags } from '@meap/test-support';
import type { SourceStatistics } from '@meap/token-dataset';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { loadConfig } from './load-config.ts';
import { resolveConfig } from './resolve-config.ts';
import { corpus, tinyRecipe, Workbench } from './testing.ts';

const bench = new Workbench();
afterAll(() => bench.dispose());
const sources = {
  stories: { files: ['stories.txt'], share: 3 },
  lines: { files: ['lines.jsonl'], share: 1, text_field: 'line' },
};
const { files, ...rest } = tinyRecipe.data!;
const recipe = {
  ...tinyRecipe,
  data: { ...rest, sources, long_documents: { min_tokens: 100, keep_shorter: 0.5 } },
};

beforeAll(() => {
  bench.write('stories.txt', corpus(300));
  const lines = Array.from({ length: 200 }, (_, i) => JSON.stringify({ line: `Line ${i} of many.` }));
  writeFileSync(bench.path('lines.jsonl'), lines.join('\n'));
  bench.recipe = bench.write('mixed.yaml', stringify(recipe));
});

describe('a run on several sources', () => {
  it('reads each by its share, and reports and stores the statistics', async () => {
    const { code, stdout, stderr } = await bench.pretrain('mixed');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const mix: SourceStatistics[] = JSON.parse(readFileSync(bench.path('mixed/data-mix.json'), 'utf8'));
    // 6 steps of 4 rows of 17 tokens, of which 5 % are kept for validation.
    const budget = Math.ceil((6 * 4 * 17) / 0.95);
    expect(mix.map(({ name, numTokens }) => [name, numTokens])).toEqual([
      ['stories', Math.round((budget * 3) / 4)],
      ['lines', Math.round(budget / 4)],
    ]);
    expect(stdout).toMatch(/stories: 323 tokens, 7[45]\.\d %/);
    const again = await bench.pretrain('again', '--set', 'data.token_budget=3000');
    expect(again.code).toBe(0);
    const larger: SourceStatistics[] = JSON.parse(readFileSync(bench.path('again/data-mix.json'), 'utf8'));
    expect(larger.map(({ numTokens }) => numTokens)).toEqual([2250, 750]);
  });

  it('reports documents of a single source with long_documents', async () => {
    const only = ['--set', `data.files=[${bench.path('stories.txt')}]`];
    const { code, stdout } = await bench.pretrain('chosen', ...only);
    expect(code).toBe(0);
    expect(stdout).toMatch(/files: [\d.K]+ tokens, 100\.0 %/);
  });

  it('reads C4 as published, by the file names of recipes/pretrain/paper.yaml', async () => {
    const c4 = (from: number, to: number) =>
      Array.from({ length: to - from }, (_, i) => {
        const text = `Line ${from + i} of many, and the words that follow it.`;
        return `${JSON.stringify({ text, timestamp: '2019-04-25T12:57:54Z', url: 'https://example.org' })}\n`;
      }).join('');
    writeFileSync(bench.path('c4-train.00000-of-01024.json.gz'), gzipSync(c4(0, 200)));
    writeFileSync(bench.path('c4-validation.00000-of-00008.json.gz'), gzipSync(c4(200, 240)));
    const set = (pair: string) => ['--set', pair];
    const { code, stderr } = await bench.pretrain(
      'c4',
      ...set(`data.files=["${bench.path('c4-train.*.json.gz')}"]`),
      ...set(`data.validation_files=["${bench.path('c4-validation.*.json.gz')}"]`),
      ...set('data.long_documents=null'),
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it('reads a file with several names once, with a warning', async () => {
    const { code, stdout } = await bench.pretrain(
      'loop',
      ...setFlags(`data.files=["${bench.path('lines.jsonl')}","${bench.path('l*.jsonl')}"]`),
      ...setFlags('data.text_field=line', 'data.long_documents=null'),
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/warning {6}data: 1 file skipped, .*lines\.jsonl/);
  });

  it('plans without training', async () => {
    const { code, stdout } = await bench.pretrain('none', '--dry-run', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout).problems).toEqual([]);
  });

  it('resolves paths of sources relative to the recipe', () => {
    const { data } = loadConfig(bench.recipe);
    expect(data.sources!.lines.files).toEqual([bench.path('lines.jsonl')]);
  });

  it.each([
    [
      { files: ['a.txt'] },
      'data: got {"files":["a.txt"],"sources":["stories","lines"]}, expected one of files, npm',
    ],
    [{ sources: {} }, 'data: got {"sources":[]}, expected one of files, npm and sources'],
    [
      { sources: undefined, files: ['a.txt'], token_budget: 9 },
      'data.token_budget: got 9, expected none without',
    ],
    [
      { sources: { a: { files: ['a.txt'], share: 0 } } },
      'data.sources.a.share: got 0, expected a number above 0',
    ],
    [{ sources: { a: { share: 1 } } }, 'data.sources.a.files: '],
    [
      { long_documents: { keep_shorter: 1.5 } },
      'data.long_documents.keep_shorter: got 1.5, expected a number from 0 to 1',
    ],
  ])('%j is refused', (changes, message) => {
    expect(() => resolveConfig({ ...recipe, data: { ...recipe.data, ...changes } })).toThrow(message);
  });
});
