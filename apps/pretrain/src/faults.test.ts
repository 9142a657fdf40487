/** Changes of data and folders before a run is resumed. */
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { corpus, Workbench } from './testing.ts';

const bench = new Workbench();
afterAll(() => bench.dispose());

/** Runs two steps. */
const begin = (out: string) =>
  bench.pretrain(out, '--set', 'train.max_steps=2', '--set', 'checkpoint.every=1');

describe('prepared tokens', () => {
  it.each([
    ['at the beginning', 3, () => 64],
    ['in the middle', 4, (length: number) => Math.floor(length / 2)],
    ['at the end', 5, (length: number) => length - 1],
  ])(
    'with a flipped bit %s are detected by checksum, named, and rebuilt from the text',
    async (_, steps, position) => {
      if (!existsSync(bench.path('flipped'))) await begin('flipped');
      const tokens = bench.path('cache/tokens');
      const shard = readdirSync(tokens, { recursive: true, encoding: 'utf8' }).find((name) =>
        name.endsWith('.bin'),
      )!;
      const path = `${tokens}/${shard}`;
      const whole = readFileSync(path);
      const bytes = Buffer.from(whole);
      bytes[position(whole.length)] ^= 0b100;
      writeFileSync(path, bytes);
      const { code, stdout } = await bench.pretrain('flipped', '--set', `train.max_steps=${steps}`);
      expect(code).toBe(0);
      expect(stdout).toMatch(
        /warning {6}data: \S+shard-00000\.bin: damaged shard, its checksum is wrong; rebuilt\n/,
      );
      expect(readFileSync(path)).toEqual(whole);
    },
  );
});

describe('data that changed between stop and resume', () => {
  it('are named with the change, and refused if tokens differ', async () => {
    const before = corpus(400);
    const path = bench.write('changing.txt', before);
    const set = ['--set', `data.files=["${path}"]`];
    expect((await bench.pretrain('changed', ...set, '--set', 'train.max_steps=2')).code).toBe(0);
    writeFileSync(path, before.replace('whale', 'snail'));
    const refused = await bench.pretrain('changed', ...set);
    expect(refused.code).toBe(1);
    expect(refused.stdout).toMatch(
      /warning {6}data changed since this run began: \S+changing\.txt: ([\d,]+) bytes → \1 bytes, different content\n/,
    );
    expect(refused.stderr).toMatch(/^meap-pretrain: resume: data differs from the run of [^\n]+\n$/);
    // Before tokenizing anything.
    expect(refused.stdout).not.toMatch(/tokenizing/);
  });

  it('are named and accepted if only the path differs', async () => {
    expect((await begin('moved')).code).toBe(0);
    const copy = bench.write('copy.txt', readFileSync(bench.path('corpus.txt')));
    const { code, stdout } = await bench.pretrain('moved', '--set', `data.files=["${copy}"]`);
    expect(code).toBe(0);
    expect(stdout).toMatch(/data changed since this run began: \S+corpus\.txt: [\d,]+ bytes → missing\n/);
    expect(stdout).toMatch(/resume {7}at step 2/);
  });
});

it('a cache folder that is a symlink loop is named by its key', async () => {
  symlinkSync(bench.path('circle'), bench.path('circle'));
  const { code, stderr } = await bench.pretrain('looped', '--set', `data.cache_dir=${bench.path('circle')}`);
  expect({ code, stderr }).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /^meap-pretrain: data\.cache_dir: got \S+circle, which cannot be used: E[^\n]+\n$/,
    ),
  });
});

it('a finished run reports its steps regardless of train.max_steps', async () => {
  expect((await bench.pretrain('finished')).code).toBe(0);
  const { stdout } = await bench.pretrain('finished', '--set', 'train.max_steps=4');
  expect(stdout).toMatch(/holds a finished run of 6 steps: \S+step-00000006\n$/);
});

describe.skipIf(process.platform !== 'linux')('folders that cannot be created', () => {
  it.each([
    ['--out', ['--out', '/proc/meap/run'], /^meap-pretrain: --out \S+: cannot be written: ENOENT[^\n]+\n$/],
    [
      'the cache',
      ['--set', 'data.cache_dir=/proc/meap'],
      /^meap-pretrain: data\.cache_dir: got \/proc\/meap, which cannot be used: ENOENT[^\n]+\n$/,
    ],
  ])('%s is a one-line error', async (_, argv, message) => {
    const { code, stderr } = await bench.pretrain('nowhere', ...argv);
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
  });
});
