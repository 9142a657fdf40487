import { describe, expect, it } from 'vitest';
import { availableMemory, estimateMemory } from './memory-plan.ts';

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
  num_key_value_heads: keyValueHeads,
  head_dim: head,
  intermediate_size: feedForward,
});
const TINY = { shape: decoder(6, 256, 4, 32, 704), parameters: 6_524_160 };
const SMALL = { shape: decoder(8, 512, 4, 64, 1408), parameters: 31_990_272 };
const M100 = { shape: decoder(12, 768, 2, 64, 2048), parameters: 122_309_376 };

describe('estimateMemory', () => {
  // Peak resident MB of bench-train on the native backend (2 cores, Node 20.20), float32, one micro-batch a step.
  it.each([
    ['tiny', TINY, 2048, false, 791],
    ['tiny', TINY, 2048, true, 362],
    ['tiny', TINY, 8192, false, 2372],
    ['tiny', TINY, 8192, true, 767],
    ['small', SMALL, 2048, false, 2133],
    ['small', SMALL, 2048, true, 978],
  ] as const)(
    'is within a tenth of what pre-training %s takes, %#',
    (_, { shape, parameters }, places, recompute, measured) => {
      const step = {
        parameters,
        trained: parameters,
        places,
        accumulates: false,
        recompute,
        base: 150 * MIB,
      };
      expect(Math.abs(estimateMemory(shape, step).total / 1e6 / measured - 1)).toBeLessThan(0.1);
    },
  );

  // Peak resident MiB of packages/llama-model/bench/long-rows.js: one row, one step.
  it.each([
    [8192, 574],
    [16_384, 849],
    [32_768, 1290],
    [65_536, 2289],
  ])('is within a tenth of what a row of %d tokens takes, in pieces', (places, measured) => {
    const { shape, parameters } = TINY;
    const step = {
      parameters,
      trained: parameters,
      places,
      accumulates: false,
      recompute: true,
      pieceTokens: 4096,
    };
    expect(
      Math.abs(estimateMemory(shape, { ...step, base: 150 * MIB }).total / MIB / measured - 1),
    ).toBeLessThan(0.1);
  });

  // Peak resident MiB of three steps of meap-finetune on the same machine, micro-batches of one shape.
  it.each([
    ['all weights', 122_310_912, 1536, false, false, 4766],
    ['recomputed', 122_310_912, 1536, false, true, 2708],
    ['two micro-batches', 122_310_912, 1536, true, false, 5380],
    ['LoRA of rank 8', 1_277_952, 1536, false, false, 3051],
    ['small micro-batches', 122_310_912, 384, true, false, 3464],
    ['NTP', 122_309_376, 768, false, false, 3737],
  ] as const)(
    'is within a tenth of what fine-tuning takes: %s',
    (_, trained, places, accumulates, recompute, measured) => {
      const { shape, parameters } = M100;
      const step = { parameters, trained, places, accumulates, recompute, base: 500 * MIB };
      expect(Math.abs(estimateMemory(shape, step).total / MIB / measured - 1)).toBeLessThan(0.1);
    },
  );

  it('knows what there is', () => {
    expect(availableMemory()).toBeGreaterThan(64 * MIB);
  });
});
