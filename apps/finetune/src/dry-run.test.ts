import { existsSync } from 'node:fs';
import { addLora, createLlama, loadLlama, presets } from '@meap/llama-model';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dryRun } from './dry-run.ts';
import { countLoraParameters, planMemory } from './memory-plan.ts';
import { loadConfig } from './resolve-config.ts';
import { Workbench } from './testing.ts';

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.create();
});
afterAll(() => bench.dispose());

const set = (...pairs: string[]) => pairs.flatMap((pair) => ['--set', pair]);

describe('--dry-run', () => {
  it('counts, plans memory, draws a conversation and its copy, and writes nothing', async () => {
    const { code, stdout, stderr } = await bench.finetune('dry', '--dry-run');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(existsSync(bench.path('dry'))).toBe(false);
    expect(stdout).toContain('40 alpaca: 32 conversations to train on, 8 held out');
    expect(stdout).toMatch(/memory {7}about [\d.]+ MiB of .*weights .*gradients .*moments .*activations /);
    expect(stdout).toMatch(/original: \d+ places, \d+ learned\ninput {2}<s>/);
    expect(stdout).toMatch(/masked copy: \d+ places, \d+ learned[\s\S]*\[MASK\]/);
  });

  it('loads no weights', async () => {
    const config = loadConfig(bench.recipe);
    const plan = await dryRun(config, { color: true });
    const model = await loadLlama(bench.path('model'));
    // One row more, for the mask token.
    expect(plan.parameters).toBe(
      [...model.parameters.values()].reduce((sum, { size }) => sum + size, 0) + 16,
    );
    model.dispose();
    expect(plan.row).toContain('\u001b[7;36m[MASK]\u001b[0m');
    expect(plan.steps).toBe(6);
    expect(plan.epochs).toBeCloseTo((6 * 4) / 32, 6);
  });

  it('prints one JSON object with --json', async () => {
    const { stdout } = await bench.finetune('dry', '--dry-run', '--json', ...set('lora={rank: 2}'));
    const plan = JSON.parse(stdout);
    expect(plan).toMatchObject({
      trainConversations: 32,
      validationConversations: 8,
      formats: { alpaca: 40 },
    });
    expect(plan.trained).toBeLessThan(plan.parameters);
    expect(plan.duplication.numCopies).toBeGreaterThan(0);
  });

  it('epochs become steps of whole batches', async () => {
    const config = loadConfig(bench.recipe, ['train.epochs=3']);
    expect((await dryRun(config)).steps).toBe(24);
  });
});

describe('memory plan', () => {
  it('counts what an adapter trains', () => {
    const config = { ...presets.tiny, num_key_value_heads: 1 };
    const model = createLlama({ ...config, num_hidden_layers: 2 }, { seed: 0 });
    for (const targets of [undefined, ['q_proj', 'down_proj'], ['k_proj']] as const) {
      const adapter = addLora(model, { rank: 3, targetModules: targets, seed: 0 });
      const count = [...adapter.parameters.values()].reduce((sum, { size }) => sum + size, 0);
      expect(countLoraParameters(model.config, { rank: 3, target_modules: targets })).toBe(count);
      model.detach()!.dispose();
    }
    model.dispose();
  });

  it('says that a model does not fit, and that an adapter and recomputation help', () => {
    const shape = { places: 8192, accumulates: true, recompute: false };
    const full = planMemory(presets['1.1b'], { ...shape, trained: 1.2e9 });
    const lora = planMemory(presets['1.1b'], { ...shape, trained: 1e7 });
    const recomputed = planMemory(presets['1.1b'], { ...shape, trained: 1e7, recompute: true });
    expect(full.weights).toBe(lora.weights);
    expect(full.total - lora.total).toBeCloseTo(16 * (1.2e9 - 1e7), -3);
    expect(recomputed.activations).toBeLessThan(lora.activations / 5);
    expect(planMemory(presets['1.1b'], { ...shape, trained: 1e15 }).fits).toBe(false);
    expect(planMemory(presets.tiny, { ...shape, places: 1, trained: 1 }).fits).toBe(true);
  });
});
