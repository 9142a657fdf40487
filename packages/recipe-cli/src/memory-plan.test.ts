import { describe, expect, it } from 'vitest';
import { availableMemory, describeMemory, estimateMemory, planMemory } from './memory-plan.ts';
import { optimizerFloats } from './recipe-options.ts';

const MIB = 2 ** 20;
const decoder = (
  layers: number,
  hidden: number,
  keyValueHeads: number,
  head: number,
  feedForward: number,
) => ({
  num_hidden_layers: layers,
  hidden_size: hidden,
  num_attention_heads: hidden / head,
  num_key_value_heads: keyValueHeads,
  head_dim: head,
  intermediate_size: feedForward,
});
const TINY = { shape: decoder(6, 256, 4, 32, 704), parameters: 6_524_160 };
const SMALL = { shape: decoder(8, 512, 4, 64, 1408), parameters: 31_990_272 };
const M100 = { shape: decoder(12, 768, 2, 64, 2048), parameters: 122_309_376 };

describe('optimizerFloats', () => {
  const shapes = new Map([
    ['model.embed_tokens.weight', [100, 8]],
    ['model.layers.0.self_attn.q_proj.weight', [8, 8]],
    ['model.layers.0.self_attn.q_norm.weight', [4]],
    ['model.layers.0.mlp.down_proj.weight', [8, 24]],
    ['lm_head.weight', [100, 8]],
  ]);

  it('are two of each parameter, of the matrices of blocks one with Muon, which works on one of them at a time', () => {
    expect(optimizerFloats('adamw', shapes)).toEqual({ state: 2 * (1604 + 64 + 192), work: 0 });
    expect(optimizerFloats('muon', shapes)).toEqual({ state: 2 * 1604 + 64 + 192, work: 2 * (192 + 64) });
  });

  it('are what a plan counts, in the moments and in the copy of a checkpoint', () => {
    const step = { ...TINY, trained: TINY.parameters, positions: 1, accumulates: false, recompute: false };
    const plan = (state: number) =>
      estimateMemory(TINY.shape, { ...step, fused: true, base: 0, optimizer: { state, work: 0 } });
    expect(plan(1000).moments).toBe(4000);
    expect(plan(1000).checkpoint).toBe(4 * TINY.parameters + 4000);
  });
});

describe('estimateMemory', () => {
  // Peak resident MB of bench-train on the native backend (2 cores, Node 20.20), float32, one micro-batch a step.
  it.each([
    ['tiny', TINY, 2048, false, 415],
    ['tiny', TINY, 2048, true, 318],
    ['tiny', TINY, 8192, false, 935],
    ['tiny', TINY, 8192, true, 587],
    ['small', SMALL, 2048, false, 1077],
    ['small', SMALL, 2048, true, 809],
    ['100m', M100, 1024, false, 2404],
  ] as const)(
    'is within a tenth of the memory of pre-training %s, %#',
    (_, { shape, parameters }, positions, recompute, measured) => {
      const step = {
        parameters,
        trained: parameters,
        positions,
        accumulates: false,
        recompute,
        fused: true,
        base: 150 * MIB,
      };
      expect(Math.abs(estimateMemory(shape, step).total / 1e6 / measured - 1)).toBeLessThan(0.1);
    },
  );

  // Peak resident MiB of two steps of meap-finetune on the same machine, micro-batches of one shape.
  it.each([
    ['all weights', 122_310_912, 1024, true, false, 3514],
    ['recomputed', 122_310_912, 1024, true, true, 3036],
    ['NTP', 122_309_376, 512, true, false, 3218],
    ['LoRA of rank 16', 2_556_672, 1024, true, false, 1976],
    ['LoRA, recomputed', 2_556_672, 1024, true, true, 796],
    ['LoRA, one large micro-batch', 2_556_672, 2688, false, false, 3523],
  ] as const)(
    'is within a tenth of the memory of fine-tuning: %s',
    (_, trained, positions, accumulates, recompute, measured) => {
      const { shape, parameters } = M100;
      const fused = trained >= parameters;
      const weightBytes = fused ? 4 : 2;
      const step = {
        parameters,
        weightBytes,
        trained,
        positions,
        accumulates,
        recompute,
        fused,
        base: 350 * MIB,
      } as const;
      expect(Math.abs(estimateMemory(shape, step).total / MIB / measured - 1)).toBeLessThan(0.1);
    },
  );

  // Most MiB of rank 1 of 2 while it trains (bench/ranks.mjs' model of 41M parameters, one row of 64 tokens a rank).
  it.each([
    [0, 900],
    [1, 672],
    [2, 671],
  ] as const)('is within a tenth of the memory of a rank with ZeRO %i', (stage, measured) => {
    const { total } = estimateMemory(decoder(6, 768, 2, 128, 2048), {
      parameters: 41_000_000,
      trained: 41_000_000,
      positions: 64,
      accumulates: false,
      zero: { stage, numRanks: 2 },
      recompute: false,
      fused: true,
      base: 150 * MIB,
    });
    expect(Math.abs(total / MIB / measured - 1)).toBeLessThan(0.1);
  });

  it('knows the memory there is, and a rank’s share of it', () => {
    expect(availableMemory()).toBeGreaterThan(64 * MIB);
    const none = { weights: 0, gradients: 0, moments: 0, activations: 0, checkpoint: 0, total: 0 };
    expect(planMemory(none, { numLocalRanks: 4, remedies: [] }).available).toBe(availableMemory() / 4);
  });
});

describe('planMemory', () => {
  const estimate = {
    weights: 100,
    gradients: 100,
    moments: 200,
    activations: 100,
    checkpoint: 300,
    total: 500,
  };
  const plan = (limit: number, onDevice = false) =>
    planMemory(
      Object.fromEntries(Object.entries(estimate).map(([name, mib]) => [name, mib * MIB])) as typeof estimate,
      { limitGib: limit / 1024, onDevice, remedies: ['less'] },
    );

  it('plans a checkpoint copy if it fits, and training without it otherwise', () => {
    expect(plan(800)).toMatchObject({ fits: true, checkpointCopy: 300 * MIB, total: 800 * MIB });
    expect(describeMemory(plan(800))).toBe(
      'about 800 MiB of 800 MiB: weights 100 MiB, gradients 100 MiB, moments 200 MiB, activations 100 MiB, ' +
        'checkpoint copy 300 MiB',
    );
    expect(plan(799)).toMatchObject({ fits: true, checkpointCopy: 0, total: 500 * MIB });
    expect(describeMemory(plan(799))).toMatch(/no memory to save in the background$/);
    expect(plan(499)).toMatchObject({ fits: false, checkpointCopy: 0 });
  });

  it('counts what a device holds for the machine only as it is made and saved', () => {
    expect(plan(400, true)).toMatchObject({ fits: true, checkpointCopy: 300 * MIB, total: 400 * MIB });
    expect(describeMemory(plan(400, true))).toBe(
      'on the device weights 100 MiB, gradients 100 MiB, moments 200 MiB, activations 100 MiB; ' +
        'about 400 MiB of 400 MiB: weights 100 MiB until they are there, checkpoint copy 300 MiB',
    );
    expect(plan(100, true)).toMatchObject({ fits: true, checkpointCopy: 0 });
    expect(plan(99, true)).toMatchObject({ fits: false });
  });
});
