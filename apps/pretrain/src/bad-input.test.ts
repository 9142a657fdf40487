import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { setFlags } from '@meap/test-support';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { corpus, Workbench } from './testing.ts';

const bench = new Workbench();
const checkpoint = (out: string, step: number) => bench.path(out, `checkpoints/step-0000000${step}`);
beforeAll(async () => {
  await bench.pretrain('good');
});
afterAll(() => bench.dispose());

/** Runs a changed recipe; expects a one-line error, an exit code and no checkpoints. */
async function expectRefused(sets: string[], message: RegExp, code = 1) {
  const out = `refused-${Math.random().toString(36).slice(2)}`;
  const outcome = await bench.pretrain(out, ...setFlags(...sets));
  expect(outcome.stderr).toMatch(/^meap-pretrain: [^\n]+\n$/);
  expect(outcome.stderr).toMatch(message);
  expect(outcome.code).toBe(code);
  expect(existsSync(bench.path(out, 'checkpoints'))).toBe(false);
}

const files = (name: string, content: string | Uint8Array) => `data.files=["${bench.write(name, content)}"]`;

describe('bad text', () => {
  it.each([
    ['a missing file', () => `data.files=["${bench.path('nowhere.txt')}"]`, /no such file \S+nowhere\.txt/],
    ['a glob without a match', () => `data.files=["${bench.path('*.parquet')}"]`, /nothing matches /],
    [
      'an unknown format',
      () => files('corpus.pdf', '%PDF-1.7\n\0'),
      /corpus\.pdf: is a PDF document; extract its text/,
    ],
    ['an empty file', () => files('empty.txt', ''), /empty corpus/],
    ['only white space', () => files('blank.txt', ' \n---\n '), /empty corpus|yields \d+ tokens/],
    [
      'too little text for the tokenizer',
      () => files('short.txt', 'Ahoy!'),
      /yields \d+ tokens, got tokenizer\.vocab_size 300/,
    ],
    [
      'invalid UTF-8',
      () => files('latin.txt', Buffer.from('caf\xe9 '.repeat(400), 'latin1')),
      /latin\.txt, line 1: .*UTF-8/,
    ],
    ['malformed JSONL', () => files('bad.jsonl', `{"text": "a"}\n{"text": \n`), /bad\.jsonl, line 2: .*JSON/],
    ['a record without text', () => files('field.jsonl', '{"txt": "a"}\n'), /field\.jsonl, line 1: .*text/],
    ['truncated gzip', () => files('cut.txt.gz', gzipSync(corpus(50)).subarray(0, 90)), /cut\.txt\.gz/],
  ])('%s is a one-line error', async (_, set, message) => {
    await expectRefused([set()], message);
  });

  it('a corpus shorter than a block is a one-line error', async () => {
    const sets = ['train.sequence_length=20000', 'model.max_position_embeddings=20000'];
    await expectRefused(sets, /corpus shorter than a block: got \d+ tokens, a block needs 20001/);
  });

  it('on_bad_record: skip skips, counts and shows bad records', async () => {
    const good = corpus(400)
      .split('---')
      .map((text) => `${JSON.stringify({ text })}\n`);
    const set = files('mixed.jsonl', [good[0], '{"text": \n', ...good.slice(1), '[]\n'].join(''));
    const outcome = await bench.pretrain('skipping', '--set', set, '--set', 'data.on_bad_record=skip');
    expect(outcome.code).toBe(0);
    expect(outcome.stdout).toMatch(
      /warning {6}data: 2 bad records skipped, the first: \S+mixed\.jsonl, line 2: /,
    );
  });
});

describe('bad vocabularies', () => {
  it.each([
    [['model.vocab_size=300'], /model\.vocab_size: got 300, expected at least 301/],
    [['tokenizer.vocab_size=10'], /got tokenizer\.vocab_size 10, expected at least 258/],
    [['tokenizer.path=nowhere'], /no such file \S+nowhere/],
    [['masking.keep_tokens=["<cls>"]'], /masking\.keep_tokens: got <cls>, expected tokens of the/],
  ])('%j is a one-line error', async (sets, message) => {
    await expectRefused(sets, message);
  });

  it('an invalid tokenizer.json is a one-line error', async () => {
    bench.write('tokenizer.json', '{"version": "1.0"}');
    await expectRefused([`tokenizer.path=${bench.path('tokenizer.json')}`], /not a tokenizer\.json/);
  });

  it('a prompt that fills the context is a configuration error', async () => {
    await expectRefused(
      ['samples.prompts=["The captain sees the storm and the whale"]'],
      /samples\.prompts: got /,
      2,
    );
  });
});

describe('bad folders', () => {
  it('an unwritable --out is reported first', async () => {
    const out = 'corpus.txt/run';
    const { code, stderr, stdout } = await bench.pretrain(out);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^meap-pretrain: --out \S+run: cannot be written: ENOTDIR[^\n]+\n$/);
    expect(stdout).toBe('');
  });

  // Root may write anywhere.
  it.skipIf(process.getuid?.() === 0)('a folder without permission is a one-line error', async () => {
    mkdirSync(bench.path('locked'));
    chmodSync(bench.path('locked'), 0o500);
    const { code, stderr } = await bench.pretrain('locked');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^meap-pretrain: --out \S+locked: cannot be written: EACCES[^\n]+\n$/);
  });

  it('an unwritable cache is a one-line error', async () => {
    await expectRefused([`data.cache_dir=${bench.path('corpus.txt/cache')}`], /ENOTDIR|cannot/);
  });
});

describe('bad checkpoints', () => {
  it('a truncated one is named, and the previous one is used', async () => {
    await bench.pretrain('damaged');
    truncateSync(`${checkpoint('damaged', 6)}/model.safetensors`, 1000);
    const { code, stdout } = await bench.pretrain('damaged');
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /warning {6}checkpoint \S+step-00000006 is damaged: model\.safetensors has SHA-256 /,
    );
    expect(stdout).toMatch(/resume {7}at step 4, from \S+step-00000004\n/);
    expect(readFileSync(`${checkpoint('damaged', 6)}/model.safetensors`)).toEqual(
      readFileSync(`${checkpoint('good', 6)}/model.safetensors`),
    );
  });

  it('a run without a complete checkpoint does not start over', async () => {
    await bench.pretrain('lost');
    for (const step of [4, 6]) rmSync(`${checkpoint('lost', step)}/trainer/state.json`);
    const { code, stderr } = await bench.pretrain('lost');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^meap-pretrain: checkpoints: none of 2 in \S+ is complete[^\n]+\n$/);
  });

  it('a run that diverges saves nothing and names the step', async () => {
    const outcome = await bench.pretrain('diverging', '--set', 'train.learning_rate=1e30');
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toMatch(
      /^meap-pretrain: train: step 2 has loss [^\n]+ expected finite numbers[^\n]+\n$/,
    );
    expect(readdirSync(bench.path('diverging'), { recursive: true }).join(' ')).not.toContain('step-');
  });
});

describe('bad usage', () => {
  it.each([
    [['--frobnicate'], /unknown option '--frobnicate'/],
    [['--set', 'seed=-1'], /^meap-pretrain: seed: got -1, expected a whole number from 0\n$/],
    [
      ['--backend', 'gpu'],
      /^meap-pretrain: backend: got "gpu", expected one of auto, xla, webgpu, tensorflow, native, wasm, cpu\n$/,
    ],
    [
      ['--precision', 'int8'],
      /^meap-pretrain: precision: got "int8", expected one of float32, bfloat16, float16\n$/,
    ],
    [
      ['--set', 'distributed.mesh.fsdp=2'],
      /^meap-pretrain: distributed.mesh: got {[^}]+}, expected none with backend auto: a mesh needs backend xla\n$/,
    ],
    [
      ['--backend', 'xla', '--set', 'distributed.mesh={data: 2, fsdp: 2}'],
      /^meap-pretrain: train.micro_batch_size: got 2, expected a multiple of 4, data × fsdp of distributed.mesh\n$/,
    ],
    [
      ['--backend', 'xla', '--set', 'distributed.mesh.tensor=4'],
      /^meap-pretrain: model.num_attention_heads: got 2, expected a multiple of 4, tensor of distributed.mesh\n$/,
    ],
    [
      ['--backend', 'xla', '--target', 'h200x8'],
      /^meap-pretrain: --target: got h200x8 without --dry-run, expected both\n$/,
    ],
    [
      ['--backend', 'xla', '--dry-run', '--target', 'a100'],
      /^meap-pretrain: --target: got 'a100', expected GPUs such as h100, h200x8, or TPUs such as v5e-16, [^\n]+\n$/,
    ],
    [['--dry-run', '--target', 'h200x8'], /^meap-pretrain: backend: got auto, expected xla with --target\n$/],
    [
      ['--backend', 'xla', '--dry-run', '--target', 'h200x8'],
      /^meap-pretrain: train.micro_batch_size: got 2, expected a multiple of 8, data × fsdp of distributed.mesh\n$/,
    ],
  ])('%j exits with 2', async (argv, message) => {
    const { code, stderr } = await bench.pretrain('usage', ...argv);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
    expect(existsSync(bench.path('usage'))).toBe(false);
  });

  it('bfloat16 on a backend without it is a one-line error', async () => {
    const { code, stderr } = await bench.pretrain('usage-2', '--backend', 'cpu', '--precision', 'bfloat16');
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^meap-pretrain: precision: bfloat16 needs the native, webgpu or xla backend[^\n]+\n$/,
    );
  });

  it('float16 on a CPU is a one-line error', async () => {
    const { code, stderr } = await bench.pretrain('usage-3', '--backend', 'native', '--precision', 'float16');
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^meap-pretrain: precision: float16 needs the webgpu backend on a GPU with shader-f16, got [^\n]+\n$/,
    );
  });
});
