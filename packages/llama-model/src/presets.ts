import { type LlamaConfig, parseConfig } from './config.ts';

/** Names of the {@link presets}. */
export type PresetName = '100m' | '300m' | '500m' | '1.1b' | 'tinyllama-1.1b' | 'tiny' | 'small';

type Shape = [layers: number, hidden: number, heads: number, keyValueHeads: number, feedForward: number];

// Llama 2's tokenizer has 32,000 ids; the table of the paper adds the mask id 32000 and alignment.
const PAPER = { vocab_size: 32_064, max_position_embeddings: 4096 };

/**
 * Model configurations by name: 100m, 300m, 500m and 1.1b of the paper (MEAP, appendix A.1), TinyLlama 1.1B, and tiny and
 * small for benchmarks.
 */
export const presets: Readonly<Record<PresetName, LlamaConfig>> = Object.freeze({
  '100m': preset([12, 768, 12, 2, 2048], PAPER),
  '300m': preset([24, 1024, 16, 2, 2736], PAPER),
  '500m': preset([24, 1024, 16, 2, 4864], PAPER),
  '1.1b': preset([24, 2048, 32, 2, 5632], PAPER),
  'tinyllama-1.1b': preset([22, 2048, 32, 4, 5632], { vocab_size: 32_000, max_position_embeddings: 2048 }),
  tiny: preset([6, 256, 8, 4, 704], { vocab_size: 4096, max_position_embeddings: 4096 }),
  small: preset([8, 512, 8, 4, 1408], { vocab_size: 8192, max_position_embeddings: 4096 }),
});

function preset(
  [layers, hidden, heads, keyValueHeads, feedForward]: Shape,
  sizes: typeof PAPER,
): LlamaConfig {
  return parseConfig({
    num_hidden_layers: layers,
    hidden_size: hidden,
    num_attention_heads: heads,
    num_key_value_heads: keyValueHeads,
    intermediate_size: feedForward,
    ...sizes,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    bos_token_id: 1,
    eos_token_id: 2,
  });
}
