import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { findModel, loadModel } from '@meap/inference';
import { loadLlama } from '@meap/llama-model';
import { hashFiles, readExactMetrics } from '@meap/recipe-cli';
import { readSafetensors, toFloat32 } from '@meap/safetensors';
import { setBackend } from '@meap/tensor-kernels';
import { setFlags } from '@meap/test-support';
import { loadTokenizer } from '@meap/token-dataset';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from './resolve-config.ts';
import { type FinetuneEvent, finetune } from './run.ts';
import { Workbench } from './testing.ts';

const bench = new Workbench();
beforeAll(() => bench.fill());
afterAll(() => bench.dispose());

const exactMetrics = (out: string) => readExactMetrics(bench.path(out));
const filesOf = (...parts: string[]) => hashFiles(bench.path(...parts));

describe('a whole run', () => {
  it('writes the run directory, and the loss falls', async () => {
    const { code, stdout, stderr } = await bench.finetune('whole');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(readdirSync(bench.path('whole')).map((name) => name.replace(/tfevents.*/, 'tfevents'))).toEqual([
      'batch.json',
      'before.json',
      'checkpoints',
      'config.yaml',
      'data-files.json',
      'environment.json',
      'events.out.tfevents',
      'metrics.jsonl',
      'model',
      'report.html',
      'samples.jsonl',
    ]);
    const lines = exactMetrics('whole');
    const validations = lines.filter((line) => 'valLoss' in line);
    const before = JSON.parse(readFileSync(bench.path('whole/before.json'), 'utf8'));
    expect(validations.map(({ step }) => step)).toEqual([3, 6]);
    expect(validations[1].valLoss).toBeLessThan(before.valLoss - 0.3);
    expect(validations[1].parts!.masked).toBeLessThan(before.maskedLoss);
    expect(validations[1].bitsPerByte).toBeGreaterThan(0);
    expect(before.samples).toHaveLength(2);
    expect(stdout).toContain('40 alpaca: 32 conversations to train on, 8 held out');
    expect(stdout).toContain('template     alpaca; answers end with </s>');
    expect(stdout).toMatch(/before {4}[\s\S]*after {5}/);
    const report = readFileSync(bench.path('whole/report.html'), 'utf8');
    expect(report).toContain('masked tokens of held-out answers');
    expect(report).toContain('<p>Before</p>');
  });

  it('exports the model in the published format, with mask token and template', async () => {
    const config = JSON.parse(readFileSync(bench.path('whole/model/config.json'), 'utf8'));
    expect(config).toMatchObject({ vocab_size: 321, torch_dtype: 'bfloat16', tie_word_embeddings: true });
    const tokenizer = loadTokenizer(bench.path('whole/model'));
    expect(tokenizer.maskTokenId).toBe(320);
    expect(String(tokenizer.config.chat_template)).toContain('### Instruction:');
    const [trained, exported] = [
      await loadLlama(bench.path('whole/checkpoints/step-00000006')),
      await loadLlama(bench.path('whole/model')),
    ];
    for (const [name, parameter] of exported.parameters) {
      const expected = await trained.parameters.get(name)!.data();
      // Rounded to the 8 bits of bfloat16.
      for (const [i, value] of (await parameter.data()).entries()) {
        expect(Math.abs(value - expected[i])).toBeLessThanOrEqual(Math.abs(expected[i]) / 256);
      }
    }
    trained.dispose();
    exported.dispose();
  });

  it('does nothing if the run is finished', async () => {
    const { code, stdout } = await bench.finetune('whole');
    expect(code).toBe(0);
    expect(stdout).toContain('holds a finished run of 6 steps');
  });

  it('prints one JSON object a line with --json', async () => {
    const { stdout } = await bench.finetune('json', '--json', '--set', 'train.max_steps=2');
    const types = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).type);
    expect(types).toEqual(
      expect.arrayContaining(['backend', 'ready', 'start', 'step', 'checkpoint', 'finished']),
    );
  });

  it('leaks no tensors', async () => {
    const before = tf.memory().numTensors;
    await bench.finetune('leak', '--set', 'train.max_steps=2');
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('seeds set apart', () => {
  const lossesOf = async (...sets: string[]) => {
    await bench.finetune(sets.join(), ...setFlags('lora={rank: 4}', 'train.max_steps=2', ...sets));
    return exactMetrics(sets.join()).flatMap(({ loss }) => (loss === undefined ? [] : [loss]));
  };
  let reference: unknown[];
  beforeAll(async () => {
    reference = await lossesOf('seed=0');
  });

  it('determine the run', async () => {
    expect(reference).toHaveLength(2);
    expect(await lossesOf('seed=1', 'init_seed=0', 'data_seed=0', 'mask_seed=0')).toEqual(reference);
  });

  it.each(['init_seed=1', 'data_seed=1', 'mask_seed=1'])('%s matters', async (set) => {
    expect(await lossesOf(set)).not.toEqual(reference);
  });
});

describe('resuming', () => {
  describe.each([
    ['full fine-tuning', []],
    ['LoRA', ['--set', 'lora={rank: 4, dropout: 0.1}']],
    ['LoRA through 4 bits', ['--set', 'lora={rank: 4}', '--set', 'model.quantize=nf4']],
    [
      'static masks in separate rows',
      ['--set', 'masking.layout=separate-rows', '--set', 'masking.refresh=static'],
    ],
  ])('gives the same bytes as an uninterrupted run: %s', (name, flags) => {
    const [straight, stopped] = [`straight ${name}`, `stopped ${name}`];
    it('which runs', async () => {
      expect((await bench.finetune(straight, ...flags)).code).toBe(0);
    });

    it('which stops and resumes', async () => {
      const overrides = flags.filter((flag) => flag !== '--set');
      const config = loadConfig(bench.recipe, overrides);
      const controller = new AbortController();
      const onEvent = (event: FinetuneEvent) => {
        if (event.type === 'step' && event.step === 3) controller.abort('SIGINT');
      };
      const first = await finetune(config, { out: bench.path(stopped), signal: controller.signal, onEvent });
      expect(first).toMatchObject({ status: 'stopped', step: 3 });
      expect(existsSync(bench.path(stopped, 'model'))).toBe(false);
      const events: FinetuneEvent[] = [];
      const second = await finetune(config, {
        out: bench.path(stopped),
        onEvent: (event) => events.push(event),
      });
      expect(second).toMatchObject({ status: 'finished', step: 6 });
      expect(events.some((event) => event.type === 'resume' && event.step === 3)).toBe(true);
      expect(filesOf(stopped, 'checkpoints/step-00000006')).toEqual(
        filesOf(straight, 'checkpoints/step-00000006'),
      );
      expect(filesOf(stopped, 'model')).toEqual(filesOf(straight, 'model'));
      expect(exactMetrics(stopped)).toEqual(exactMetrics(straight));
      for (const file of ['samples.jsonl', 'before.json', 'config.yaml']) {
        expect(readFileSync(bench.path(stopped, file), 'utf8')).toBe(
          readFileSync(bench.path(straight, file), 'utf8'),
        );
      }
    });
  });

  it.each([
    ['while data are read', 'data'],
    ['while the model is measured before training', 'ready'],
  ])('stops %s without saving, and starts over', async (_, type) => {
    const out = `early ${type}`;
    const controller = new AbortController();
    const result = await finetune(loadConfig(bench.recipe), {
      out: bench.path(out),
      signal: controller.signal,
      onEvent: (event) => {
        if (event.type === type) controller.abort('SIGTERM');
      },
    });
    expect(result).toEqual({ status: 'stopped', step: 0, checkpoint: undefined });
    expect(readdirSync(bench.path(out))).toEqual([]);
    expect((await bench.finetune(out, '--set', 'train.max_steps=1')).code).toBe(0);
  });

  it('stopped while data are read again reports the last checkpoint', async () => {
    const result = await finetune(loadConfig(bench.recipe, ['train.max_steps=9']), {
      out: bench.path('stopped LoRA'),
      signal: AbortSignal.abort('SIGINT'),
    });
    expect(result).toMatchObject({ status: 'stopped', step: 6 });
    expect(result.checkpoint).toContain('step-00000006');
  });

  it('refuses another mask ratio', async () => {
    const sets = ['train.max_steps=8', 'lora.rank=4', 'lora.dropout=0.1', 'masking.ratio=0.3'];
    const { code, stderr } = await bench.finetune('stopped LoRA', ...setFlags(...sets));
    expect(code).toBe(1);
    expect(stderr).toMatch(/^meap-finetune: resume: masking .*\n$/);
  });
});

describe('LoRA', () => {
  it('saves adapter files of PEFT and exports a merged model without them', () => {
    expect(readdirSync(bench.path('straight LoRA/checkpoints/step-00000006')).sort()).toEqual([
      'adapter_config.json',
      'adapter_model.safetensors',
      'special_tokens_map.json',
      'tokenizer.json',
      'tokenizer_config.json',
      'trainer',
    ]);
    const model = readdirSync(bench.path('straight LoRA/model'));
    expect(model).toContain('model.safetensors');
    expect(model).not.toContain('adapter_config.json');
    expect(readdirSync(bench.path('straight LoRA/adapter'))).toEqual(
      expect.arrayContaining(['adapter_config.json', 'adapter_model.safetensors', 'tokenizer.json']),
    );
  });

  it('trains the embedding of the mask token and exports it', async () => {
    const folder = 'straight LoRA/checkpoints/step-00000006';
    const config = JSON.parse(readFileSync(bench.path(folder, 'adapter_config.json'), 'utf8'));
    expect(config.trainable_token_indices).toEqual([320]);
    const adapter = await readSafetensors(bench.path(folder, 'adapter_model.safetensors'));
    const rows = adapter.tensors.get(
      'base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta',
    )!;
    const learned = toFloat32(rows);
    const embeddings = async (model: string) => {
      const { tensors } = await readSafetensors(bench.path(model, 'model.safetensors'));
      return toFloat32(tensors.get('model.embed_tokens.weight')!);
    };
    const [before, after] = [await embeddings('model'), await embeddings('straight LoRA/model')];
    expect(after.slice(0, before.length)).toEqual(before);
    const mean = learned.map((_, e) => before.reduce((sum, x, i) => (i % 16 === e ? sum + x / 320 : sum), 0));
    expect(Math.max(...learned.map((x, e) => Math.abs(x - mean[e])))).toBeGreaterThan(1e-3);
    // Rounded to the 8 bits of bfloat16.
    after.slice(-16).forEach((x, e) => {
      expect(Math.abs(x - learned[e])).toBeLessThanOrEqual(Math.abs(learned[e]) / 256);
    });
  });
});

describe('a base in 4 bits', () => {
  const run = 'straight LoRA through 4 bits';

  it('trains as one in float32 does, nearly', async () => {
    const sets = setFlags('lora={rank: 4}', 'model.quantize=null');
    expect((await bench.finetune('lora unquantised', ...sets)).code).toBe(0);
    const losses = (out: string) =>
      exactMetrics(out).flatMap(({ loss }) => (loss === undefined ? [] : [loss as number]));
    const [quantized, full] = [losses(run), losses('lora unquantised')];
    expect(quantized).not.toEqual(full);
    quantized.forEach((loss, i) => {
      expect(Math.abs(loss / full[i] - 1)).toBeLessThan(0.01);
    });
  });

  it('exports the quantised values with the update, which the adapter gives on the quantised base', async () => {
    const [{ model: adapted }, { model: merged }] = [
      await loadModel(await findModel(bench.path(run, 'adapter')), { quantize: 'nf4' }),
      await loadModel(await findModel(bench.path(run, 'model')), {}),
    ];
    expect(adapted.adapter?.merged).toBe(false);
    const logits = [adapted, merged].map((model) =>
      tf.tidy(() => model.logits(tf.tensor2d([[5, 320, 9, 30]], [1, 4], 'int32')).dataSync()),
    );
    // The exported weights are rounded to bfloat16.
    logits[0].forEach((x, i) => {
      expect(Math.abs(x - logits[1][i])).toBeLessThan(0.01);
    });
    adapted.dispose();
    merged.dispose();
  });

  it('is planned, and refused in another run, without lora or on another backend', async () => {
    const planOf = async (...sets: string[]) =>
      JSON.parse((await bench.finetune('dry', '--dry-run', '--json', ...setFlags(...sets))).stdout).memory;
    const plans = await Promise.all([
      planOf('lora={rank: 4}', 'model.quantize=nf4'),
      planOf('lora={rank: 4}', 'model.quantize=int8'),
      planOf('lora={rank: 4}'),
    ]);
    expect(plans[0].weights).toBeLessThan(plans[1].weights);
    expect(plans[1].weights).toBeLessThan(plans[2].weights);
    const refusal = async (out: string, ...sets: string[]) =>
      (await bench.finetune(out, ...setFlags(...sets))).stderr;
    expect(await refusal(run, 'lora={rank: 4}', 'model.quantize=int8', 'train.max_steps=8')).toMatch(
      /resume: quantize differs .* got int8, expected nf4/,
    );
    expect(await refusal('dry', 'model.quantize=nf4')).toMatch(
      /model\.quantize: got "nf4", expected none without lora/,
    );
    expect(await refusal('dry', 'lora={}', 'model.quantize=nf4', 'backend=cpu')).toMatch(
      /model\.quantize: got nf4 on the backend cpu, expected native/,
    );
    await setBackend('native');
  });
});

describe('NTP', () => {
  it('has neither copies nor a mask token', async () => {
    const flags = ['--set', 'masking.ratio=0', '--set', 'train.max_steps=2'];
    const { stdout, code } = await bench.finetune('ntp', ...flags);
    expect(code).toBe(0);
    expect(stdout).toContain('no masked copies: next-token prediction');
    expect(stdout).toMatch(/held-out answers: loss \d\.\d+, of masked tokens \d\.\d+/);
    const config = JSON.parse(readFileSync(bench.path('ntp/model/config.json'), 'utf8'));
    expect(config.vocab_size).toBe(320);
  });
});

it('measures probes in training, and ends by a rule', async () => {
  const recall = '{every: 2, key_value_recall: {pairs: [2], rows: 2}}';
  const { code, stdout } = await bench.finetune(
    'probed',
    ...['--set', `probes.key_value_recall=${recall}`],
    ...['--set', 'stop_when=[{value: key_value_recall/margin, at_least: -1000, times: 2}]'],
  );
  expect(code).toBe(0);
  expect(stdout).toContain('stop         after step 2');
  const measured = exactMetrics('probed').filter(
    ({ probes }) => probes?.['key_value_recall/acc'] !== undefined,
  );
  expect(measured.map(({ step }) => step)).toEqual([0, 2]);
  expect(existsSync(bench.path('probed/model/config.json'))).toBe(true);
});
