import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { countParameters, flopsPerToken } from '@meap/llama-model';
import { setFlags } from '@meap/test-support';
import { afterAll, describe, expect, it } from 'vitest';
import { Workbench } from './testing.ts';

const bench = new Workbench();
afterAll(() => bench.dispose());
/** Returns the cached tokenizer that the recipe trains. */
async function trainedTokenizer(): Promise<string> {
  await bench.pretrain('dry', '--dry-run');
  const tokenizers = bench.path('cache', 'tokenizers');
  return join(tokenizers, readdirSync(tokenizers)[0]);
}

const recipes = join(import.meta.dirname, '../../../recipes/pretrain');

describe('--dry-run', () => {
  it('prints sizes, memory, tokens, time and a masked row, and trains nothing', async () => {
    const { code, stdout, stderr } = await bench.pretrain('dry', '--dry-run');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^backend {6}/);
    expect(stdout).toMatch(/\nmodel {8}15,\d{3} parameters: 2 layers × 16, 2 heads, vocabulary 320\n/);
    expect(stdout).toMatch(/\ncompute {6}\S+ KFLOP per token, forward and backward\n/);
    expect(stdout).toMatch(/\ntokens {7}6 steps × 64 = 384\n/);
    expect(stdout).toMatch(/\nmemory {7}about \d+ MiB of \S+ [MG]iB: weights /);
    expect(stdout).toMatch(/\ntime {9}about \S+ s at \S+ tokens\/s \(\S+ [KMG]FLOP\/s measured/);
    expect(stdout).toMatch(/\nmasked row {3}2 of 16 tokens masked \(12\.5 %\)/);
    expect(stdout).toMatch(/\ninput {2}<s> .*\ntarget /);
    expect(stdout.match(/\[MASK\]/g)).toHaveLength(2);
    expect(existsSync(bench.path('dry'))).toBe(false);
  });

  it('reports that a run does not fit, and the run is refused with the numbers', async () => {
    const limit = ['--set', 'train.memory_limit_gib=0.01'];
    const { stdout } = await bench.pretrain('limited', '--dry-run', ...limit);
    expect(stdout).toMatch(
      /does not fit: the run needs about \d+ MiB, got 10\.2 MiB; use train\.recompute, /,
    );
    const { code, stderr } = await bench.pretrain('limited', ...limit);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^meap-pretrain: memory: the run needs about \d+ MiB, got 10\.2 MiB; use train\.recompute, a smaller train\.micro_batch_size, a shorter train\.sequence_length, or set train\.memory_limit_gib if more is available\n$/,
    );
  });

  it('shows the masks of the strategy', async () => {
    const ntp = await bench.pretrain('dry', '--dry-run', '--set', 'masking.ratio=0');
    expect(ntp.stdout).not.toContain('[MASK]');
    const span = ['masking.strategy=span', 'masking.span_length=4', 'masking.ratio=0.25'];
    const { stdout } = await bench.pretrain('dry', '--dry-run', ...setFlags(...span));
    expect(stdout).toMatch(/4 of 16 tokens masked \(25\.0 %\) in 1 run, the longest 4/);
  });

  it('shows the tokens that replace the masked ones, and the last step with masks', async () => {
    const { stdout } = await bench.pretrain('dry', '--dry-run', ...setFlags('masking.until=0.5'));
    expect(stdout).toMatch(/\nmasked row {3}2 of 16 [^\n]+; masks until step 3\n/);
    expect(stdout.match(/\[MASK\]/g)).toHaveLength(2);
    const flags = setFlags('masking.replace_with=random', 'masking.ratio=0.5');
    const random = await bench.pretrain('dry', '--dry-run', ...flags);
    expect(random.stdout).toMatch(/\nmasked row {3}8 of 16 [^\n]+; replaced by random tokens\n/);
    expect(random.stdout).not.toContain('[MASK]');
    const [input, target] = [/^input(.*)$/m, /^target(.*)$/m].map((line) => line.exec(random.stdout)![1]);
    const [inputs, targets] = [input, target].map((line) => line.trim().split(/\s+/));
    // Input i + 1 is target i, unless it was replaced by another token.
    const replaced = inputs.slice(1).filter((token, i) => token !== targets[i]);
    expect(replaced.length).toBeGreaterThanOrEqual(5);
    expect(replaced.length).toBeLessThanOrEqual(8);
  });

  it('prints one JSON object with --json', async () => {
    const { stdout } = await bench.pretrain('dry', '--dry-run', '--json');
    const plan = JSON.parse(stdout);
    expect(plan).toMatchObject({ steps: 6, tokens_per_step: 64, tokens: 384, problems: [] });
    expect(plan.parameters).toBe(countParameters(plan.model));
    expect(plan.flop_per_token).toBe(flopsPerToken(plan.model, 16));
    expect(plan.seconds).toBeCloseTo(384 / plan.tokens_per_second, 6);
  });

  it('lists everything that prevents the run from starting, and exits with 1', async () => {
    const bad = bench.write('bad.jsonl', '{"text": "good"}\n{"txt": "bad"}\n');
    const files = ['nowhere.txt', bad, 'none/*.jsonl'];
    const keys = [`data.files=${JSON.stringify(files)}`, 'data.validation_files=[lost.txt]'];
    const argv = ['--dry-run', ...setFlags(...keys)];
    const { code, stdout, stderr } = await bench.pretrain('dry', ...argv);
    expect(code).toBe(1);
    expect(stdout).toMatch(/\ndata {9}not ready; the row below shows a sample sentence\n/);
    expect(stdout).toMatch(/\ninput {2}A /);
    const lines = stderr.trim().split('\n');
    expect(lines).toHaveLength(4);
    expect(lines[0]).toMatch(/^meap-pretrain: .*nowhere\.txt/);
    expect(lines[1]).toMatch(/^meap-pretrain: .*bad\.jsonl, line 2: field 'text' is missing/);
    expect(lines[2]).toMatch(/^meap-pretrain: .*none\/\*\.jsonl/);
    expect(lines[3]).toMatch(/^meap-pretrain: .*lost\.txt/);
    const json = await bench.pretrain('dry', '--json', ...argv);
    expect([json.code, JSON.parse(json.stdout).problems]).toEqual([1, lines.map((line) => line.slice(15))]);
  });

  it('refuses an empty text', async () => {
    const empty = bench.write('empty.txt', ' \n');
    const sets = ['--set', `data.files=["${empty}"]`, '--set', `tokenizer.path=${await trainedTokenizer()}`];
    const { code, stderr } = await bench.pretrain('dry', '--dry-run', ...sets);
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^meap-pretrain: .*empty/),
    });
  });

  it('refuses to plan a model of unknown vocabulary size, and lists what else is missing', async () => {
    const sets = ['--set', 'tokenizer.path=nowhere', '--set', 'data.files=[nowhere.txt]'];
    const { code, stdout, stderr } = await bench.pretrain('dry', '--dry-run', ...sets);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(
      /^meap-pretrain: [^\n]*nowhere\.txt[^\n]*\nmeap-pretrain: no such file [^\n]+\nmeap-pretrain: model\.vocab_size: got nothing, expected a number while the tokenizer is missing\n$/,
    );
  });

  it('plans a recipe of the paper, without C4 and without its tokenizer', async () => {
    bench.recipe = join(recipes, '100m.yaml');
    // Small enough to be timed at once.
    const small = ['model.hidden_size=96', 'model.intermediate_size=64', 'model.vocab_size=500'];
    const sets = setFlags(...small, 'precision=float32', 'train.sequence_length=64');
    const { code, stdout } = await bench.pretrain('dry', '--dry-run', '--json', ...sets);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      problems: [
        expect.stringContaining('c4-train'),
        expect.stringContaining('c4-validation'),
        expect.stringContaining('tokenizer.json'),
      ],
      steps: 1907,
      tokens: 1907 * 256 * 64,
    });
  });

  it('times one layer of a model that is too large to be timed whole', async () => {
    bench.recipe = bench.path('tiny.yaml');
    const large = ['model.num_hidden_layers=400', 'model.hidden_size=128', 'model.intermediate_size=128'];
    const argv = ['--dry-run', '--json', ...setFlags(...large)];
    const { code, stdout, stderr } = await bench.pretrain('dry', ...argv);
    expect(code, stderr).toBe(0);
    const { parameters, flop_per_token: flopPerToken } = JSON.parse(stdout);
    expect(parameters).toBeGreaterThan(40e6);
    // Timed whole it would take seconds.
    expect(1024 * flopPerToken).toBeGreaterThan(200e9);
  });
});
