import { ConfigKeys } from './config-keys.ts';

/** Llama 3.1's rescaling of rotary frequencies for contexts longer than it was pre-trained on. */
export interface RopeScaling {
  readonly rope_type: 'llama3';
  /** Divides the frequencies of long wavelengths. */
  readonly factor: number;
  /** Wavelengths above `original_max_position_embeddings / low_freq_factor` are divided in full. */
  readonly low_freq_factor: number;
  /** Wavelengths below `original_max_position_embeddings / high_freq_factor` stay as they are. */
  readonly high_freq_factor: number;
  /** Context of the pre-training, in tokens. */
  readonly original_max_position_embeddings: number;
}

/** Base and rescaling of the rotary embedding. */
export interface Rope {
  rope_theta: number;
  rope_scaling?: RopeScaling;
}

/**
 * Takes the rotary keys in the spelling of transformers 4 (`rope_theta`, `rope_scaling`) or 5 (`rope_parameters`).
 *
 * @throws ConfigError for a rescaling other than llama3, and for two spellings that disagree
 */
export function takeRope(keys: ConfigKeys): Rope {
  const spelling4 = keys.take('rope_scaling');
  const spelling5 = keys.take('rope_parameters');
  const outer = keys.has('rope_theta') ? keys.positive('rope_theta') : undefined;
  const [old, current] = [
    spelling4 === undefined ? undefined : parseRope(spelling4, `${keys.path}.rope_scaling`),
    spelling5 === undefined ? undefined : parseRope(spelling5, `${keys.path}.rope_parameters`),
  ];
  if (old && current && JSON.stringify(old.rope_scaling) !== JSON.stringify(current.rope_scaling)) {
    throw keys.refusal(
      'rope_parameters',
      spelling5,
      'the same rescaling as in rope_scaling, or one of the two',
    );
  }
  const thetas = [outer, old?.rope_theta, current?.rope_theta].filter((theta) => theta !== undefined);
  for (const theta of thetas) {
    if (theta !== thetas[0]) {
      throw keys.refusal('rope_parameters.rope_theta', theta, `the same value as rope_theta (${thetas[0]})`);
    }
  }
  const rope_scaling = old?.rope_scaling ?? current?.rope_scaling;
  return { rope_theta: thetas[0] ?? 10_000, ...(rope_scaling ? { rope_scaling } : {}) };
}

function parseRope(source: unknown, path: string): Partial<Rope> {
  const keys = new ConfigKeys(source, path, 'an object such as {"rope_type": "llama3", …}');
  // Early files of Llama 3.1 say `type`.
  const legacyType = keys.take('type');
  const type = keys.take('rope_type') ?? legacyType ?? 'default';
  keys.takeNeutral({ partial_rotary_factor: 1 });
  const rope: Partial<Rope> = {};
  if (keys.has('rope_theta')) rope.rope_theta = keys.positive('rope_theta');
  if (type === 'llama3') {
    const low_freq_factor = keys.positive('low_freq_factor');
    rope.rope_scaling = Object.freeze({
      rope_type: type,
      factor: keys.number('factor', 'a number from 1', (value) => value >= 1),
      low_freq_factor,
      high_freq_factor: keys.number(
        'high_freq_factor',
        `a number above low_freq_factor (${low_freq_factor})`,
        (value) => value > low_freq_factor,
      ),
      original_max_position_embeddings: keys.count('original_max_position_embeddings'),
    });
  } else if (type !== 'default') {
    throw keys.refusal('rope_type', type, '"default" or "llama3"', 'no other RoPE scaling is implemented');
  }
  keys.requireNoMore(
    new Set(),
    type === 'llama3' ? 'a key of RoPE scaling "llama3"' : 'only rope_type and rope_theta',
  );
  return rope;
}

/**
 * A rotary frequency under Llama 3.1's rescaling: kept where the wavelength is short, divided by `factor` where it
 * is long, interpolated in between. Rounded to float32 where transformers rounds.
 */
export function scaledFrequency(frequency: number, scaling: RopeScaling): number {
  const { factor, low_freq_factor: low, high_freq_factor: high } = scaling;
  const context = scaling.original_max_position_embeddings;
  const wavelength = Math.fround((2 * Math.PI) / frequency);
  if (wavelength < context / high) return frequency;
  const divided = Math.fround(frequency / factor);
  if (wavelength > context / low) return divided;
  const smooth = Math.fround(Math.fround(Math.fround(context / wavelength) - low) / (high - low));
  return Math.fround(
    Math.fround(Math.fround(Math.fround(1 - smooth) * frequency) / factor) + Math.fround(smooth * frequency),
  );
}
