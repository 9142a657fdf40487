import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { loadLlama } from '@meap/llama-model';
import { hashFiles, readExactMetrics, readJsonLines, readMetrics, type SampleLine } from '@meap/recipe-cli';
import { setFlags } from '@meap/test-support';
import { loadTokenizer } from '@meap/token-dataset';
import { type StepMetrics, stepDirectory, type ValidationMetrics } from '@meap/trainer';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../load-config.ts';
import { corpus, Workbench } from '../testing.ts';
import { type PretrainEvent, pretrain } from './run.ts';

const bench = new Workbench();
afterAll(() => bench.dispose());

const exactMetrics = (out: string) => readExactMetrics(bench.path(out));
const checkpointFiles = (out: string, step: number) =>
  hashFiles(bench.path(out, 'checkpoints', stepDirectory(step)));

describe('a whole run', () => {
  it('writes the run directory', async () => {
    const { code, stdout, stderr } = await bench.pretrain('whole');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const names = readdirSync(bench.path('whole')).map((name) => name.replace(/tfevents.*/, 'tfevents'));
    expect(names).toEqual([
      ...['batch.json', 'checkpoints', 'config.yaml', 'data-files.json', 'environment.json'],
      ...['events.out.tfevents', 'metrics.jsonl', 'report.html', 'samples.jsonl'],
    ]);
    expect(readdirSync(bench.path('whole/checkpoints'))).toEqual(['step-00000004', 'step-00000006']);
    expect(Object.keys(checkpointFiles('whole', 6)).sort()).toEqual([
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'special_tokens_map.json',
      'tokenizer.json',
      'tokenizer_config.json',
      'trainer/SHA256SUMS',
      'trainer/optimizer.safetensors',
      'trainer/state.json',
    ]);
    expect(loadConfig(bench.path('whole/config.yaml'))).toEqual(
      loadConfig(bench.recipe, [`data.cache_dir=${bench.path('cache')}`]),
    );

    const lines = readJsonLines<StepMetrics & ValidationMetrics>(bench.path('whole/metrics.jsonl'));
    expect(lines.map(({ step, valLoss }) => (valLoss ? `v${step}` : step)).join(' ')).toBe(
      '1 2 3 v3 4 5 6 v6',
    );
    expect(Object.keys(lines[0])).toEqual([
      ...['step', 'tokens', 'loss', 'lr', 'gradNorm', 'tokensPerSecond', 'mfu'],
      ...['residentBytes', 'backendBytes'],
    ]);
    expect(lines[5]).toMatchObject({ step: 5, tokens: 5 * 4 * 16 });
    expect(
      readJsonLines<SampleLine>(bench.path('whole/samples.jsonl')).map(({ step, prompt }) => [step, prompt]),
    ).toEqual([
      [3, ''],
      [3, 'The'],
      [6, ''],
      [6, 'The'],
    ]);
    const environment = JSON.parse(readFileSync(bench.path('whole/environment.json'), 'utf8'));
    expect(environment.run).toEqual({
      steps: 6,
      parameters: expect.any(Number),
      documents: {
        empty: 0,
        duplicates: { count: 12, oneIn: 1 },
        spellings: { documents: 0, occurrences: 0 },
      },
    });
    const batch = JSON.parse(readFileSync(bench.path('whole/batch.json'), 'utf8'));
    expect(batch).toMatchObject({
      step: 1,
      rows: [
        { numTokens: 16, numMasked: 2 },
        { numTokens: 16, numMasked: 2 },
      ],
    });
    expect(environment).toMatchObject({ meap: expect.any(String), backend: { name: expect.any(String) } });

    expect(stdout).toMatch(/validation {3}\d\.\d{3} bits per byte, a unigram model \d\.\d{3}\n/);
    expect(stdout).toMatch(/loss, nats per token, steps 1 to 6\n/);
    expect(stdout).toContain(bench.path('whole/checkpoints/step-00000006'));
  });

  it('continues validation text, beside what follows there', async () => {
    const { stdout } = await bench.pretrain(
      'held-out',
      ...setFlags('samples.held_out=2', 'samples.prompts=[]'),
    );
    const lines = readJsonLines<SampleLine>(bench.path('held-out/samples.jsonl'));
    expect(lines.map(({ step }) => step)).toEqual([3, 3, 6, 6]);
    const text = corpus(400).replaceAll('\n---\n', '');
    for (const { prompt, reference } of lines) {
      expect(prompt.length).toBeGreaterThan(8);
      expect(reference).not.toBe('');
      expect(text).toContain(prompt + reference);
    }
    expect(lines[0].prompt).not.toBe(lines[1].prompt);
    const { prompt, reference, text: sample } = lines[3];
    expect(stdout).toContain(`sample of held-out text, after\n${prompt.trim()}\n`);
    expect(stdout).toContain(`\nthe text goes on: ${reference!.trim()}\n`);
    expect(stdout).toContain(`\nthe model goes on: ${sample.replace(/\s+/g, ' ').trim()}`);
    expect(readFileSync(bench.path('held-out/report.html'), 'utf8')).toContain('The text itself goes on: ');
    // 5 rows are the validation.
    const refused = await bench.pretrain('refused', ...setFlags('samples.held_out=6'));
    expect(refused.stderr).toMatch(
      /samples\.held_out: got 6, expected at most 5, the rows of the validation/,
    );
  });

  it('adds the mask id after the vocabulary, with an embedding', async () => {
    const folder = bench.path('whole/checkpoints/step-00000006');
    const tokenizer = loadTokenizer(folder);
    expect(tokenizer.maskTokenId).toBe(300);
    expect(tokenizer.idToToken(300)).toBe('[MASK]');
    const model = await loadLlama(folder);
    expect(model.config).toMatchObject({ vocab_size: 320, bos_token_id: 0, eos_token_id: 1 });
    model.dispose();
  });

  it('reports a finished run and changes nothing', async () => {
    const before = checkpointFiles('whole', 6);
    const { code, stdout } = await bench.pretrain('whole');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\S+whole holds a finished run of 6 steps: \S+step-00000006\n$/);
    expect(checkpointFiles('whole', 6)).toEqual(before);
  });

  it('prints only JSON objects with --json, one per line', async () => {
    const { code, stdout } = await bench.pretrain('json', '--json');
    const events = stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
    expect(code).toBe(0);
    const types = [
      'backend',
      'data',
      'ready',
      'start',
      'step',
      'validation',
      'sample',
      'checkpoint',
      'finished',
    ];
    expect(new Set(events.map(({ type }) => type))).toEqual(new Set(types));
    expect(events.find(({ type }) => type === 'ready')).toMatchObject({ steps: 6, tokensPerStep: 64 });
    expect(events.at(-1)).toMatchObject({ type: 'finished', step: 6, out: bench.path('json') });
  });

  it('is deterministic', () => {
    expect(checkpointFiles('json', 6)).toEqual(checkpointFiles('whole', 6));
    expect(exactMetrics('json')).toEqual(exactMetrics('whole'));
  });

  it.each([
    ...['seed=1', 'init_seed=1', 'data_seed=1', 'mask_seed=1'],
    ...['masking.ratio=0', 'masking.strategy=reference', 'masking.replace_with=random'],
    'train.dropout=0.1',
  ])('differs with %s', async (other) => {
    await bench.pretrain(other, '--set', other, '--set', 'train.max_steps=1');
    expect(exactMetrics(other)[0].loss).toEqual(expect.any(Number));
    expect(exactMetrics(other)[0].loss).not.toBe(exactMetrics('whole')[0].loss);
  });

  it('trains from the seeds set apart alone', async () => {
    const apart = setFlags('seed=1', 'init_seed=0', 'data_seed=0', 'mask_seed=0');
    await bench.pretrain('apart', ...apart, '--set', 'train.max_steps=1');
    expect(exactMetrics('apart')[0].loss).toBe(exactMetrics('whole')[0].loss);
    const unmasked = setFlags('mask_seed=1', 'masking.ratio=0', 'train.max_steps=1');
    await bench.pretrain('unmasked', ...unmasked);
    expect(exactMetrics('unmasked')[0].loss).toBe(exactMetrics('masking.ratio=0')[0].loss);
  });

  it('masks the first steps alone with masking.until', async () => {
    await bench.pretrain('until', ...setFlags('masking.until=0.5'));
    const losses = (out: string) =>
      exactMetrics(out).flatMap(({ loss }) => (loss === undefined ? [] : [loss]));
    const [until, whole] = [losses('until'), losses('whole')];
    expect(until.slice(0, 3)).toEqual(whole.slice(0, 3));
    expect(until[3]).not.toBe(whole[3]);
  });

  it('leaks no tensors', async () => {
    const config = loadConfig(bench.recipe, [`data.cache_dir=${bench.path('cache')}`]);
    const before = tf.memory().numTensors;
    await pretrain(config, { out: bench.path('leak') });
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('resuming', () => {
  const config = (sets: string[]) =>
    loadConfig(bench.recipe, [`data.cache_dir=${bench.path('cache')}`, ...sets]);

  /** Runs until an event, then aborts like a signal. */
  async function stopAt(out: string, until: (event: PretrainEvent) => boolean, sets: string[] = []) {
    const controller = new AbortController();
    const onEvent = (event: PretrainEvent) => {
      if (until(event)) controller.abort('SIGINT');
    };
    return pretrain(config(sets), { out: bench.path(out), signal: controller.signal, onEvent });
  }

  // Before, at and after a checkpoint: every second step saves one.
  it.each([
    [1, undefined],
    [2, 1],
    [3, 2],
    [5, 3],
  ])('stops at step %i after resuming at step %s', async (step, from) => {
    let resumedAt: number | undefined;
    const stopped = await stopAt('stopped', (event) => {
      if (event.type === 'resume') resumedAt = event.step;
      return event.type === 'step' && event.step === step;
    });
    expect(stopped).toMatchObject({ status: 'stopped', step });
    expect(resumedAt).toBe(from);
  });

  it('gives the bytes of an uninterrupted run after all these stops', async () => {
    const { code, stdout } = await bench.pretrain('stopped');
    expect(code).toBe(0);
    expect(stdout).toContain('resume       at step 5, from ');
    expect(checkpointFiles('stopped', 6)).toEqual(checkpointFiles('whole', 6));
    expect(exactMetrics('stopped')).toEqual(exactMetrics('whole'));
    expect(readFileSync(bench.path('stopped/samples.jsonl'))).toEqual(
      readFileSync(bench.path('whole/samples.jsonl')),
    );
  });

  const controls = [
    ...['train.dropout=0.2', 'masking.replace_with=random', 'masking.until=0.5', 'mask_seed=3'],
    ...['train.optim=muon', 'train.z_loss=0.01', 'model.model_type=qwen3'],
  ];
  it('trains with dropout, random tokens, masks that end, Muon, z-loss and QK-norm', async () => {
    expect((await bench.pretrain('controls', ...setFlags(...controls))).code).toBe(0);
    // Of a new model, the square of the logarithm of its vocabulary.
    const { zLoss } = readMetrics(bench.path('controls')).steps[0];
    expect(zLoss).toBeCloseTo(0.01 * Math.log(320) ** 2, 1);
    expect(exactMetrics('controls')).not.toEqual(exactMetrics('whole'));
  });

  it('gives the bytes of an uninterrupted run with them', async () => {
    await stopAt('stops', (event) => event.type === 'step' && event.step === 3, controls);
    await bench.pretrain('stops', ...setFlags(...controls));
    expect(checkpointFiles('stops', 6)).toEqual(checkpointFiles('controls', 6));
    expect(exactMetrics('stops')).toEqual(exactMetrics('controls'));
  });

  it('resumes from the checkpoint of another run', async () => {
    await stopAt('other', (event) => event.type === 'step' && event.step === 3);
    const flags = ['--resume', bench.path('other/checkpoints/step-00000003')];
    expect((await bench.pretrain('elsewhere', ...flags)).code).toBe(0);
    expect(checkpointFiles('elsewhere', 6)['model.safetensors']).toBe(
      checkpointFiles('whole', 6)['model.safetensors'],
    );
  });

  it('refuses --resume never in a folder that is not empty', async () => {
    const { code, stderr } = await bench.pretrain('whole', '--resume', 'never');
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^meap-pretrain: --out \S+whole: the folder is not empty, expected an empty one.*\n$/,
    );
  });

  it('refuses a missing folder before doing anything', async () => {
    const { code, stdout, stderr } = await bench.pretrain('typo', '--resume', 'nevr');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(
      /^meap-pretrain: --resume nevr: no such folder, expected auto, never, or [^\n]+\n$/,
    );
    expect(existsSync(bench.path('typo'))).toBe(false);
  });

  describe('of a changed recipe', () => {
    beforeAll(() => stopAt('changed', (event) => event.type === 'step' && event.step === 2));

    it.each([
      ['masking.ratio=0.2', /^meap-pretrain: resume: masking differs from the run of [^\n]+\n$/],
      ['masking.replace_with=random', /masking differs [^\n]+ got per-sequence 0\.15 replace_with random, /],
      ['masking.until=0.5', /masking differs [^\n]+ got per-sequence 0\.15 until 0\.5, /],
      ['train.dropout=0.1', /dropout differs from the run of \S+, got 0\.1, expected none: /],
      ['mask_seed=1', /seed differs from the run of \S+, got 0, mask_seed 1, expected 0: /],
    ])('refuses %s', async (set, message) => {
      const refused = await bench.pretrain('changed', '--set', set);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toMatch(message);
    });
  });

  it('reports other changes', async () => {
    await stopAt('longer', (event) => event.type === 'step' && event.step === 2);
    const longer = await bench.pretrain('longer', '--set', 'train.max_steps=8');
    expect(longer.code).toBe(0);
    expect(longer.stdout).toContain('configuration changed since this run began: train.max_steps: 6 → 8');
  });

  it('stopped while preparing the data leaves no prepared data', async () => {
    const controller = new AbortController();
    controller.abort('SIGTERM');
    const fresh = loadConfig(bench.recipe, [`data.cache_dir=${bench.path('fresh-cache')}`]);
    const result = await pretrain(fresh, { out: bench.path('early'), signal: controller.signal });
    expect(result).toEqual({ status: 'stopped', step: 0 });
    const tokens = bench.path('fresh-cache/tokens');
    const left = existsSync(tokens) ? readdirSync(tokens, { recursive: true }) : [];
    expect(left.filter((name) => String(name).endsWith('manifest.json'))).toEqual([]);
  });
});

describe('probes', () => {
  const probes = {
    recall: { task: 'key_value_recall', every: 2, key_value_recall: { pairs: [2], rows: 2 } },
    induction: { every: 4, induction: { length: 3, sequences: 2 } },
  };
  const set = ['--set', `probes=${JSON.stringify(probes)}`];

  it('are measured in training, logged and shown, and change nothing else', async () => {
    const { code, stdout, stderr } = await bench.pretrain('probed', ...set);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const lines = exactMetrics('probed');
    const at = (name: string) =>
      lines.filter(({ probes }) => probes?.[name] !== undefined).map(({ step }) => step);
    expect(at('recall/margin/pairs=2')).toEqual([0, 2, 4, 6]);
    expect(at('induction/gain')).toEqual([0, 4, 6]);
    expect(stdout).toMatch(/step +4 of 6 +recall acc \d\.\d{3}, margin -?\d\.\d{3}; induction gain/);
    expect(stdout).toMatch(/probes {7}recall acc \S+ → \S+, margin \S+ → \S+; induction gain \S+ → /);
    expect(lines.filter(({ probes }) => !probes)).toEqual(exactMetrics('whole'));
    expect(checkpointFiles('probed', 6)['model.safetensors']).toBe(
      checkpointFiles('whole', 6)['model.safetensors'],
    );
  });

  it('end the run by a rule, once and for all', async () => {
    const rule = ['--set', 'stop_when=[{value: recall/margin, at_least: -1000, times: 3}]'];
    const { code, stdout } = await bench.pretrain('ended', ...set, ...rule);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /stop +after step 4: recall\/margin is .*, at least -1000 in 3 measurements in a row/,
    );
    expect(readdirSync(bench.path('ended/checkpoints'))).toContain('step-00000004');
    expect(existsSync(bench.path('ended/report.html'))).toBe(true);
    const again = await bench.pretrain('ended', ...set, ...rule);
    expect(again.stdout).toContain('holds a finished run of 4 steps');
  });

  it('let the run go on once the rule is gone', async () => {
    const more = await bench.pretrain('ended', ...set);
    expect(more.stdout).toContain('resume       at step 4');
    expect(readdirSync(bench.path('ended/checkpoints'))).toContain('step-00000006');
  });

  it('are refused before training where their data are missing', async () => {
    for (const flags of [[], ['--dry-run']]) {
      const { code, stderr } = await bench.pretrain('none', '--set', 'probes.niah={}', ...flags);
      expect(code).toBeGreaterThan(0);
      expect(stderr).toContain('probes.niah.data.haystack: no data folder given');
    }
  });
});
