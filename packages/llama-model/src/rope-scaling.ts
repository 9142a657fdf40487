import { ConfigKeys } from './config-keys.ts';

/** Linear interpolation of positions (Chen et al. 2023, arXiv 2306.15595, eq. 4). */
export interface LinearScaling {
  readonly rope_type: 'linear';
  /** Divides every frequency. */
  readonly factor: number;
}

/** NTK-aware scaling whose base grows with the length of the text (bloc97 and emozilla 2023). */
export interface DynamicScaling {
  readonly rope_type: 'dynamic';
  /** Growth of the base; positions up to `factor` times `max_position_embeddings`, the context of the training, are valid. */
  readonly factor: number;
}

/** YaRN (Peng et al. 2023, arXiv 2309.00071): interpolation by parts, and a temperature of attention logits. */
export interface YarnScaling {
  readonly rope_type: 'yarn';
  /** Divides the frequencies of long wavelengths. */
  readonly factor: number;
  /** Context of the pre-training, in tokens. */
  readonly original_max_position_embeddings: number;
  /** Pairs with more rotations in the original context are unchanged; 32 by default. */
  readonly beta_fast?: number;
  /** Pairs with fewer rotations in the original context are fully interpolated; 1 by default. */
  readonly beta_slow?: number;
  /** Factor of queries and keys; 0.1 · ln(factor) + 1 by default. */
  readonly attention_factor?: number;
}

/** Llama 3.1's rescaling for contexts longer than that of its pre-training. */
export interface Llama3Scaling {
  readonly rope_type: 'llama3';
  /** Divides the frequencies of long wavelengths. */
  readonly factor: number;
  /** Wavelengths above `original_max_position_embeddings / low_freq_factor` are fully divided. */
  readonly low_freq_factor: number;
  /** Wavelengths below `original_max_position_embeddings / high_freq_factor` are unchanged. */
  readonly high_freq_factor: number;
  /** Context of the pre-training, in tokens. */
  readonly original_max_position_embeddings: number;
}

/** Rescaling of the rotary frequencies, under the keys of Hugging Face's config.json. */
export type RopeScaling = LinearScaling | DynamicScaling | YarnScaling | Llama3Scaling;

type KeysOfEach<T> = T extends unknown ? keyof T : never;

/** Keys of a rescaling, `type` in old files. */
type ScalingKey = KeysOfEach<RopeScaling> | 'type' | 'rope_theta' | 'partial_rotary_factor';

/** Keys of config.json that this file reads. */
export type RopeKey = keyof Rope | 'rope_parameters';

/** Base and rescaling of the rotary embedding. */
export interface Rope {
  rope_theta: number;
  rope_scaling?: RopeScaling;
}

/**
 * Reads the rotary keys of transformers 4 (`rope_theta`, `rope_scaling`) or 5 (`rope_parameters`).
 *
 * @throws ConfigError for a rescaling other than {@link RopeScaling}, and for keys that disagree
 */
export function takeRope(keys: ConfigKeys<RopeKey>, defaultTheta = 10_000): Rope {
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
  return { rope_theta: thetas[0] ?? defaultTheta, ...(rope_scaling ? { rope_scaling } : {}) };
}

function parseRope(source: unknown, path: string): Partial<Rope> {
  const keys = new ConfigKeys<ScalingKey>(source, path, 'an object such as {"rope_type": "llama3", …}');
  // Early files of Llama 3.1 and files of 2023 use `type`.
  const legacyType = keys.take('type');
  const type = keys.take('rope_type') ?? legacyType ?? 'default';
  keys.takeNeutral({ partial_rotary_factor: 1 });
  const rope: Partial<Rope> = {};
  if (keys.has('rope_theta')) rope.rope_theta = keys.positive('rope_theta');
  const isKnown = typeof type === 'string' && Object.hasOwn(SCALINGS, type);
  const take = isKnown ? SCALINGS[type as RopeScaling['rope_type']] : undefined;
  if (take) rope.rope_scaling = Object.freeze(take(keys));
  else if (type !== 'default') {
    const known = ['default', ...Object.keys(SCALINGS)].map((name) => JSON.stringify(name)).join(', ');
    throw keys.refusal('rope_type', type, `one of ${known}`, 'no other RoPE scaling is implemented');
  }
  keys.requireNoMore(new Set(), take ? `a key of RoPE scaling "${type}"` : 'only rope_type and rope_theta');
  return rope;
}

/** Read the keys of a rescaling in a fixed order, so that results can be compared as JSON. */
const SCALINGS: {
  readonly [Type in RopeScaling['rope_type']]: (keys: ConfigKeys<ScalingKey>) => RopeScaling;
} = {
  linear: (keys) => ({ rope_type: 'linear', factor: factor(keys) }),
  dynamic: (keys) => ({ rope_type: 'dynamic', factor: factor(keys) }),
  yarn: (keys) => {
    const scaling: YarnScaling = {
      rope_type: 'yarn',
      factor: factor(keys),
      original_max_position_embeddings: keys.count('original_max_position_embeddings'),
      ...(keys.has('attention_factor') && { attention_factor: keys.positive('attention_factor') }),
      ...(keys.has('beta_fast') && { beta_fast: keys.positive('beta_fast') }),
      ...(keys.has('beta_slow') && { beta_slow: keys.positive('beta_slow') }),
    };
    const { beta_fast = 32, beta_slow = 1 } = scaling;
    if (beta_fast <= beta_slow) {
      throw keys.refusal('beta_fast', beta_fast, `a number above beta_slow (${beta_slow})`);
    }
    return scaling;
  },
  llama3: (keys) => {
    const low_freq_factor = keys.positive('low_freq_factor');
    return {
      rope_type: 'llama3',
      factor: factor(keys),
      low_freq_factor,
      high_freq_factor: keys.number(
        'high_freq_factor',
        `a number above low_freq_factor (${low_freq_factor})`,
        (value) => value > low_freq_factor,
      ),
      original_max_position_embeddings: keys.count('original_max_position_embeddings'),
    };
  },
};

function factor(keys: ConfigKeys<ScalingKey>): number {
  return keys.number('factor', 'a number from 1', (value) => value >= 1);
}
