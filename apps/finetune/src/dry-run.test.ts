import { existsSync, rmSync } from 'node:fs';
import { addLora, createLlama, loadLlama, presets } from '@meap/llama-model';
import { describeMisfit } from '@meap/recipe-cli';
import { setFlags } from '@meap/test-support';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dryRun } from './dry-run.ts';
import { adaptedOutputs, countLoraParameters, planFinetuning as planMemory } from './memory-plan.ts';
import { loadConfig } from './resolve-config.ts';
import { Workbench } from './testing.ts';

const bench = new Workbench();
beforeAll(() => bench.fill());
afterAll(() => bench.dispose());

describe('--dry-run', () => {
  it('prints counts, memory and a conversation with its copy, and writes nothing', async () => {
    const { code, stdout, stderr } = await bench.finetune('dry', '--dry-run');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(existsSync(bench.path('dry'))).toBe(false);
    expect(stdout).toContain('40 alpaca: 32 conversations to train on, 8 held out');
    expect(stdout).toMatch(/memory {7}about [\d.]+ MiB of .*weights .*gradients .*moments .*activations /);
    expect(stdout).toMatch(/original: \d+ positions, \d+ learned\ninput {2}<s>/);
    expect(stdout).toMatch(/masked copy: \d+ positions, \d+ learned[\s\S]*\[MASK\]/);
  });

  it('reads files of any layout', async () => {
    const conversation = (text: string) => ({
      messages: [
        { role: 'user', content: 'Q' },
        { role: 'assistant', content: `${text}, an answer that is long enough.` },
      ],
    });
    const [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'e'].map(conversation);
    const files = [
      bench.write('wrapped.json', JSON.stringify({ version: 1, data: [a, b] })),
      bench.write('one.json', JSON.stringify(c, null, 2)),
      bench.write('lines.ndjson', `${JSON.stringify(d)}\n${JSON.stringify(e)}\n`),
    ];
    const { stdout } = await bench.finetune(
      'dry',
      '--dry-run',
      '--json',
      ...setFlags(`data.files=[${files}]`),
    );
    expect(JSON.parse(stdout).formats).toEqual({ messages: 5 });
    const lines = [bench.write('lines.txt', `${JSON.stringify(a)}\n${JSON.stringify({ data: [b] })}\n`)];
    const named = await bench.finetune(
      'dry',
      '--dry-run',
      ...setFlags(`data.files=[${lines}]`, 'data.file_format=csv'),
    );
    expect(named.code).toBe(1);
    expect(named.stderr).toMatch(/lines\.txt, line 1: not CSV/);
  });

  it('names an unreadable file', async () => {
    const file = bench.write('wide.jsonl', Buffer.from('\ufeff{"a":1}\n', 'utf16le'));
    const { stderr } = await bench.finetune('dry', '--dry-run', ...setFlags(`data.files=[${file}]`));
    expect(stderr).toMatch(/wide\.jsonl: is UTF-16, expected UTF-8; convert it/);
  });

  it('lists all problems of model and data, and exits with 1', async () => {
    const bad = bench.write('bad.json', '[{"first": "a", "second": "b"}]');
    const sets = setFlags(
      'model.path=nowhere',
      `data.files=[lost.json, "${bad}"]`,
      'data.validation_files=[gone.json]',
    );
    const { code, stdout, stderr } = await bench.finetune('dry', '--dry-run', ...sets);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    const lines = stderr.trim().split('\n');
    expect(lines).toHaveLength(4);
    for (const [i, named] of [
      /nowhere/,
      /lost\.json/,
      /bad\.json, row 1: .*data\.fields/,
      /gone\.json/,
    ].entries()) {
      expect(lines[i]).toMatch(/^meap-finetune: /);
      expect(lines[i]).toMatch(named);
    }
  });

  it('loads no weights', async () => {
    const config = loadConfig(bench.recipe);
    const plan = await dryRun(config, { color: true });
    const model = await loadLlama(bench.path('model'));
    // Plus a row for the mask token.
    expect(plan.parameters).toBe(
      [...model.parameters.values()].reduce((sum, { size }) => sum + size, 0) + 16,
    );
    model.dispose();
    expect(plan.row).toContain('\u001b[7;36m[MASK]\u001b[0m');
    expect(plan.steps).toBe(6);
    expect(plan.epochs).toBeCloseTo((6 * 4) / 32, 6);
  });

  it('prints one JSON object with --json', async () => {
    const { stdout } = await bench.finetune('dry', '--dry-run', '--json', ...setFlags('lora={rank: 2}'));
    const plan = JSON.parse(stdout);
    expect(plan).toMatchObject({
      trainConversations: 32,
      validationConversations: 8,
      formats: { alpaca: 40 },
    });
    expect(plan.trained).toBeLessThan(plan.parameters);
    // With masks, the embedding of the mask token is trained: 16 values, since the head is tied.
    const ntp = JSON.parse(
      (await bench.finetune('dry', '--dry-run', '--json', ...setFlags('lora={rank: 2}', 'masking.ratio=0')))
        .stdout,
    );
    expect(plan.trained - ntp.trained).toBe(16);
    expect(plan.duplication.numCopies).toBeGreaterThan(0);
  });

  it('converts epochs into steps', async () => {
    const config = loadConfig(bench.recipe, ['train.epochs=3']);
    expect((await dryRun(config)).steps).toBe(24);
  });
});

describe('memory plan', () => {
  it('counts the parameters of an adapter', () => {
    const config = { ...presets.tiny, num_key_value_heads: 1 };
    const model = createLlama({ ...config, num_hidden_layers: 2 }, { seed: 0 });
    for (const [targets, tokens] of [
      [undefined, []],
      [['q_proj', 'down_proj'], [5]],
      [['k_proj'], [5, 7]],
    ] as const) {
      const adapter = addLora(model, { rank: 3, targetModules: targets, trainableTokens: tokens, seed: 0 });
      const count = [...adapter.parameters.values()].reduce((sum, { size }) => sum + size, 0);
      expect(countLoraParameters(model.config, { rank: 3, target_modules: targets }, tokens.length)).toBe(
        count,
      );
      model.detach()!.dispose();
    }
    model.dispose();
  });

  const parameters = 1.2e9;
  const shape = {
    parameters,
    positions: 8192,
    accumulates: true,
    recompute: false,
    canSplit: true,
    lora: false,
    copiesHead: false,
    copiedTable: 0,
    learnsTables: false,
  };
  const adapters = { ...shape, lora: true, trained: 1e7 };

  it('accounts for the savings of an adapter and of recomputation', () => {
    const full = planMemory(presets['1.1b'], { ...shape, trained: parameters });
    const lora = planMemory(presets['1.1b'], adapters);
    const recomputed = planMemory(presets['1.1b'], { ...adapters, recompute: true });
    expect(lora.weights - full.weights).toBe(4e7);
    expect(full.moments - lora.moments).toBe(8 * (parameters - 1e7));
    expect(recomputed.activations).toBeLessThan(lora.activations / 5);
    const attention = adaptedOutputs(presets['1.1b'], { target_modules: ['q_proj', 'v_proj', 'q_proj'] });
    const { num_attention_heads, num_key_value_heads, head_dim } = presets['1.1b'];
    expect(attention).toBe((num_attention_heads + num_key_value_heads) * head_dim);
    const dora = planMemory(presets['1.1b'], { ...adapters, keptOutputs: attention });
    // At least what the layers keep, in float32.
    const kept = 4 * shape.positions * presets['1.1b'].num_hidden_layers * attention;
    expect(dora.activations - lora.activations).toBeGreaterThan(kept);
    expect(dora.activations - lora.activations).toBeLessThan(2 * kept);
    const { vocab_size, hidden_size } = presets['1.1b'];
    const copying = planMemory(presets['1.1b'], { ...adapters, copiesHead: true });
    expect(copying.total - lora.total).toBe(4 * vocab_size * hidden_size);
    // Writing the model needs a copied table in place of gradients and activations.
    const held = lora.gradients + lora.activations;
    expect(planMemory(presets['1.1b'], { ...adapters, copiedTable: held + 7 }).total - lora.total).toBe(7);
    expect(planMemory(presets['1.1b'], { ...adapters, copiedTable: held - 7 }).total).toBe(lora.total);
  });

  it('reports that a model does not fit, with the remaining options', () => {
    const plan = planMemory(presets['1.1b'], { ...shape, trained: parameters, limitGib: 16 });
    expect(plan.fits).toBe(false);
    expect(describeMisfit(plan)).toMatch(
      /^the run needs about [\d.]+ GiB, got 16 GiB; use lora, train\.recompute, a smaller train\.micro_batch_size, a shorter train\.max_length, or set train\.memory_limit_gib if more is available$/,
    );
    const all = { ...adapters, trained: 1, recompute: true, canSplit: false, quantize: 'nf4' as const };
    expect(planMemory(presets['1.1b'], all).remedies).toEqual(['a shorter train.max_length']);
    const tables = { ...all, learnsTables: true };
    expect(planMemory(presets['1.1b'], tables).remedies[0]).toBe('no lora.modules_to_save');
    expect(planMemory(presets['1.1b'], { ...all, limitGib: 64 }).fits).toBe(true);
  });

  it('refuses a run that does not fit before reading weights, unless memory_limit_gib is raised', async () => {
    rmSync(bench.path('model/model.safetensors'));
    const limit = setFlags('train.memory_limit_gib=0.01');
    const { code, stderr, stdout } = await bench.finetune('limited', ...limit);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^backend .*\n$/);
    expect(stderr).toMatch(
      /^meap-finetune: memory: the run needs about \d+ MiB, got 10.2 MiB; use lora, .*\n$/,
    );
    const dry = await bench.finetune('limited', ...limit, '--dry-run');
    expect(dry.stdout).toContain('does not fit: the run needs about');
    expect((await bench.finetune('limited', '--set', 'train.memory_limit_gib=4')).stderr).toContain(
      'model.safetensors',
    );
  });
});
