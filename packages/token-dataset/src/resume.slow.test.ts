/** An interrupted preparation is continued to the same bytes, or started over with a reason. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, readdirSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { openTokenDataset } from './dataset.ts';
import { processNamespace } from './output-folder.ts';
import { prepareTokens } from './prepare.ts';
import type { PrepareTokensOptions } from './prepare-options.ts';
import { fixture, fixtureDocuments, isBuilt, temporaryFolder, tinyTokenizer } from './testing.ts';
import { BATCH } from './text-sources.ts';
import { addMaskToken } from './tokenizer.ts';

vi.setConfig({ testTimeout: 30_000 });

const FILES = 8;
/** Some twenty batches. */
BATCH.documents = 5;

/** Files of a dozen documents each, some empty, repeated or with the spelling of special tokens, some lines bad. */
function corpus(options: Partial<PrepareTokensOptions> = {}) {
  const folder = temporaryFolder();
  const file = (i: number) => join(folder, `part-${i}.jsonl`);
  for (let i = 0; i < FILES; i++) {
    const texts = [...fixtureDocuments.slice(10 * i, 10 * i + 10), ' \n', 'a </s> b', fixtureDocuments[0]];
    const lines = texts.map((text) => JSON.stringify({ text }));
    writeFileSync(file(i), [...lines.slice(0, 5), 'no JSON', ...lines.slice(5)].join('\n'));
  }
  const files = join(folder, 'part-*.jsonl');
  const notices: string[] = [];
  const defaults = {
    files,
    tokenizer: tinyTokenizer,
    outputDirectory: join(folder, 'out'),
    workers: 0,
    onBadRecord: 'skip' as const,
    maxTokensPerShard: 700,
    onNotice: (notice: string) => notices.push(notice),
  };
  return { folder, file, notices, options: { ...defaults, ...options } as PrepareTokensOptions };
}

/** Prepares until this many batches have been written. */
async function interrupt(options: PrepareTokensOptions, batches: number): Promise<void> {
  const stop = new AbortController();
  let seen = -1;
  const onProgress = ({ phase }: { phase: string }) => {
    if (phase === 'tokenize' && ++seen === batches) stop.abort(new Error('enough'));
  };
  await expect(prepareTokens({ ...options, onProgress, signal: stop.signal })).rejects.toThrow('enough');
}

/** Every file of a dataset, by name, and its manifest without the times of files. */
function contents(directory: string): Record<string, string> {
  const names = readdirSync(directory, { recursive: true }) as string[];
  const files = names.filter((name) => !/^[0-9a-f]{16}$/.test(name)).sort();
  return Object.fromEntries(files.map((name) => [name, readFileSync(join(directory, name), 'latin1')]));
}

/** The result of an uninterrupted preparation with the same options. */
async function straight(options: PrepareTokensOptions): Promise<Record<string, string>> {
  const outputDirectory = `${options.outputDirectory}-straight`;
  await prepareTokens({ ...options, outputDirectory, onNotice: undefined });
  return contents(outputDirectory);
}

const temporary = (directory: string) => {
  const [name, ...others] = readdirSync(directory).filter((name) => name.startsWith('.tmp-'));
  expect(others).toEqual([]);
  return join(directory, name);
};

test('property: a resumed preparation writes the bytes of an uninterrupted one', async () => {
  const property = fc.asyncProperty(
    fc.array(fc.integer({ min: 1, max: FILES - 1 }), { minLength: 1, maxLength: 3 }),
    fc.constantFrom(1, 40, 700, 2 ** 29),
    async (stops, maxTokensPerShard) => {
      const { options, notices } = corpus({ maxTokensPerShard });
      // Batches encoded before the stop are still written, so a later stop may never happen.
      for (const [i, batches] of stops.entries()) {
        const stopped = interrupt(options, batches);
        await (i === 0 ? stopped : stopped.catch(() => {}));
      }
      await prepareTokens(options);
      expect(notices[0]).toMatch(
        /^continuing an interrupted preparation after [\d,]+ tokens of \d+ documents$/,
      );
      expect(notices.filter((notice) => /starting over/.test(notice))).toEqual([]);
      expect(contents(options.outputDirectory)).toEqual(await straight(options));
    },
  );
  await fc.assert(property, { numRuns: 4 });
});

test('property: so does a mix with several passes and a selection of documents', async () => {
  const property = fc.asyncProperty(
    fc.integer({ min: 1, max: 12 }),
    fc.integer({ min: 2000, max: 9000 }),
    fc.boolean(),
    async (batches, tokenBudget, chooses) => {
      const { file, options } = corpus();
      const mixed: PrepareTokensOptions = {
        ...options,
        files: undefined,
        sources: [
          { name: 'a', files: [file(0), file(1)], share: 3 },
          { name: 'b', files: [file(2), file(3), file(4)], share: 2 },
        ],
        tokenBudget,
        ...(chooses && { lengthUpsampling: { minLength: 60, keepShorter: 0.5 }, seed: 3 }),
      };
      // The preparation may have finished before.
      await interrupt(mixed, batches).catch(() => {});
      await prepareTokens(mixed);
      expect(contents(mixed.outputDirectory)).toEqual(await straight(mixed));
    },
  );
  await fc.assert(property, { numRuns: 4 });
});

test('progress and counts continue', async () => {
  const { options } = corpus();
  const whole = await prepareTokens({ ...options, outputDirectory: `${options.outputDirectory}-whole` });
  expect(whole).toMatchObject({
    numDocuments: FILES * 12,
    skipped: { count: FILES },
    documents: {
      empty: FILES,
      // The spelled document repeats in all files but the first, the first document twice in each.
      duplicates: { count: 2 * FILES - 1, oneIn: 1 },
      spellings: { documents: FILES, occurrences: FILES },
    },
  });
  await interrupt(options, 5);
  const seen: { bytesDone: number; documents: number }[] = [];
  const onProgress = (progress: { phase: string; bytesDone: number; documents: number }) => {
    if (progress.phase === 'tokenize') seen.push(progress);
  };
  const resumed = await prepareTokens({ ...options, onProgress });
  expect(resumed).toEqual({ ...whole, directory: options.outputDirectory });
  expect(seen[0].documents).toBeGreaterThanOrEqual(5 * 5);
  expect(seen[0].bytesDone).toBeGreaterThan(0);
  expect(seen.at(-1)).toMatchObject({ documents: FILES * 12, bytesDone: seen.at(-1)!.bytesDone });
  expect(new Set(seen.map(({ bytesDone }) => bytesDone)).size).toBeGreaterThan(1);
});

describe('it starts over, with a notice,', () => {
  const damages: [string, (folder: string) => void, RegExp][] = [
    [
      'the open shard is truncated',
      (folder) => truncateSync(open(folder), 70),
      /shard-\d+\.bin is truncated/,
    ],
    ['a byte of it has changed', (folder) => flip(open(folder), 66), /shard-\d+\.bin is damaged/],
    ['its index is truncated', (folder) => truncateSync(`${open(folder)}.index`, 8), /index is truncated/],
    [
      'a finished shard is truncated',
      (folder) => truncateSync(join(folder, 'shard-00000.bin'), 99),
      /damaged shard/,
    ],
    [
      'the list of hashes is truncated',
      (folder) => truncateSync(join(folder, 'seen.bin'), 3),
      /seen\.bin is truncated/,
    ],
  ];
  const open = (folder: string) => {
    const index = readdirSync(folder).find((name) => name.endsWith('.index'))!;
    return join(folder, index.slice(0, -'.index'.length));
  };
  const flip = (path: string, at: number) => {
    const bytes = readFileSync(path);
    bytes[at] ^= 1;
    writeFileSync(path, bytes);
  };

  test.each(damages)('if %s', async (what, damage, reason) => {
    // One unfinished shard, or several of which some are finished.
    const { options, notices } = corpus({ maxTokensPerShard: /finished/.test(what) ? 300 : 2 ** 29 });
    await interrupt(options, 4);
    damage(temporary(options.outputDirectory));
    await prepareTokens(options);
    expect(notices).toEqual([expect.stringMatching(/cannot be continued, .*: starting over$/)]);
    expect(notices[0]).toMatch(reason);
    expect(contents(options.outputDirectory)).toEqual(await straight(options));
  });

  test.each<[string, Partial<PrepareTokensOptions>, RegExp]>([
    [
      'the tokenizer has changed',
      { tokenizer: addMaskToken(tinyTokenizer, '[X]') },
      /the tokenizer has changed/,
    ],
    ['BOS is left out', { addBos: false }, /the BOS token has changed/],
    ['shards are larger', { maxTokensPerShard: 9000 }, /maxTokensPerShard is 9000, it was 700/],
    ['special tokens are parsed', { parseSpecialTokens: true }, /parseSpecialTokens is true, it was false/],
    ['bad records were skipped', { onBadRecord: 'error' }, /it has skipped bad records/],
  ])('where %s', async (_, change, reason) => {
    const { options, notices } = corpus();
    await interrupt(options, 4);
    const changed = { ...options, ...change };
    if (change.onBadRecord) {
      await expect(prepareTokens(changed)).rejects.toThrow(/no JSON/);
    } else {
      await prepareTokens(changed);
      expect(contents(options.outputDirectory)).toEqual(await straight(changed));
    }
    expect(notices).toEqual([expect.stringMatching(reason)]);
  });

  test('if a file that was read has changed, but not if an unread one has', async () => {
    const { options, notices, file } = corpus();
    await interrupt(options, 4);
    appendFileSync(file(FILES - 1), '\n{"text": "more"}');
    writeFileSync(file(FILES), '{"text": "a new file"}');
    await interrupt(options, 1);
    expect(notices).toEqual([expect.stringMatching(/^continuing an interrupted preparation/)]);
    appendFileSync(file(1), '\n{"text": "more"}');
    await prepareTokens(options);
    expect(notices[1]).toMatch(/part-1\.jsonl has changed: starting over$/);
    expect(contents(options.outputDirectory)).toEqual(await straight(options));
  });
});

test('after a bad record, skipping bad records continues without starting over', async () => {
  const { options, notices, file } = corpus({ onBadRecord: 'error' });
  for (let i = 0; i < 6; i++) writeFileSync(file(i), readFileSync(file(i), 'utf8').replace('no JSON\n', ''));
  await expect(prepareTokens(options)).rejects.toThrow(/part-6\.jsonl, line 6: malformed JSON/);
  const skipping = { ...options, onBadRecord: 'skip' as const };
  const { skipped } = await prepareTokens(skipping);
  expect(skipped.count).toBe(2);
  expect(notices).toEqual([expect.stringMatching(/^continuing an interrupted preparation/)]);
  expect(contents(options.outputDirectory)).toEqual(await straight(skipping));
});

test.skipIf(!isBuilt)(
  'a kill -9 loses only the work since the last mark, on the same or another machine',
  async () => {
    const { options, notices, file } = corpus({ maxTokensPerShard: 100_000 });
    // The first files, whose documents are a batch each.
    const long = fixtureDocuments[0].repeat(Math.ceil(BATCH.characters / fixtureDocuments[0].length));
    writeFileSync(file(-1), Array.from({ length: 2 }, () => JSON.stringify({ text: long })).join('\n'));
    const plain = { ...options, tokenizer: undefined, onNotice: undefined };
    const script = `
    import { loadTokenizer, prepareTokens } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url))};
    const tokenizer = loadTokenizer(${JSON.stringify(fixture('trained'))});
    let seen = 0;
    const onProgress = ({ phase }) => phase === 'tokenize' && ++seen === 3 && process.kill(process.pid, 'SIGKILL');
    await prepareTokens({ ...${JSON.stringify(plain)}, tokenizer, onProgress });
  `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'inherit' });
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
    // Simulates a folder that another machine abandoned.
    const left = temporary(options.outputDirectory);
    renameSync(left, left.replace(processNamespace(), 'elsewhere'));
    vi.setSystemTime(Date.now() + 11 * 60 * 1000);
    await prepareTokens(options).finally(() => vi.useRealTimers());
    expect(notices).toEqual([
      expect.stringMatching(/^continuing an interrupted preparation after [\d,]+ tokens/),
    ]);
    expect(contents(options.outputDirectory)).toEqual(await straight(options));
    openTokenDataset(options.outputDirectory, { verify: true }).close();
  },
);
