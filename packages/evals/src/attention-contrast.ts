/**
 * Compares the attention of a MEAP and an NTP model (Table 10 of the MEAP paper): lower on masked tokens, with a higher
 * variance over the others.
 */
import { meanAttention, overLayers } from './attention-means.ts';
import { EvalsError } from './error.ts';
import type { CallOptions, LanguageModel } from './language-model.ts';
import { mean, variance } from './statistics.ts';
import { pairedTTest, type TTest, welchTTest } from './t-test.ts';

/** A sequence and its positions that are masked for the MEAP model. */
export interface MaskedSequence {
  readonly ids: readonly number[];
  /** At least one distinct position; at least two must be unmasked. */
  readonly maskedPositions: readonly number[];
}

/** Options of {@link contrastAttention}. */
export interface ContrastOptions extends CallOptions {
  /** Id at masked positions of the MEAP model's input. */
  readonly maskId: number;
  /** Called after each sequence. */
  readonly onProgress?: (numSequences: number) => void;
}

/** A statistic of one model's attention. */
export interface AttentionStatistic {
  /** One value per sequence, in order. */
  readonly values: readonly number[];
  /** Mean of `values`. */
  readonly mean: number;
  /** The statistic of each layer, mean over sequences. */
  readonly layers: readonly number[];
}

/** A statistic of both models. */
export interface AttentionDifference {
  readonly ntp: AttentionStatistic;
  readonly meap: AttentionStatistic;
  /** Change of the mean relative to the NTP model's: 0.1 is 10 %. */
  readonly change: number;
  /** MEAP minus NTP, paired by sequence; absent for a single sequence. */
  readonly paired?: TTest;
  /** MEAP minus NTP, as independent samples; absent for a single sequence. */
  readonly welch?: TTest;
}

/** The result of {@link contrastAttention}. */
export interface AttentionContrast {
  readonly ntp: string;
  readonly meap: string;
  readonly numSequences: number;
  /** Mean attention at masked keys; `change` is the decay (NTP − MEAP) / NTP. */
  readonly scoreDecay: AttentionDifference;
  /** Variance of attention over the other keys; `change` is the increase (MEAP − NTP) / NTP. */
  readonly varianceIncrease: AttentionDifference;
}

/**
 * Compares the attention of a MEAP model on masked sequences with that of an NTP model on the unmasked ones.
 *
 * A key's attention is the mean over layers, heads and the queries that can see it. The tests are over sequences; they
 * do not cover the randomness of training.
 *
 * @throws EvalsError for no sequences, positions out of range, or a model without attention; the signal's reason
 */
export async function contrastAttention(
  ntp: LanguageModel,
  meap: LanguageModel,
  sequences: Iterable<MaskedSequence>,
  { maskId, onProgress, signal }: ContrastOptions,
): Promise<AttentionContrast> {
  const scores = { ntp: new Collected(), meap: new Collected() };
  const variances = { ntp: new Collected(), meap: new Collected() };
  let numSequences = 0;
  for (const sequence of sequences) {
    const isMasked = requireMasks(sequence, numSequences);
    const inputs = {
      ntp: { model: ntp, ids: sequence.ids },
      meap: { model: meap, ids: sequence.ids.map((id, i) => (isMasked[i] ? maskId : id)) },
    };
    for (const side of ['ntp', 'meap'] as const) {
      const { model, ids } = inputs[side];
      const layers = await meanAttention(model, ids, 'causal', { signal });
      scores[side].add(layers, (keys) => mean(keys.filter((_, key) => isMasked[key])));
      variances[side].add(layers, (keys) => variance(keys.filter((_, key) => !isMasked[key])));
    }
    numSequences++;
    onProgress?.(numSequences);
  }
  if (numSequences === 0) throw new EvalsError('contrastAttention: got no sequences, expected at least one');
  return {
    ntp: ntp.name,
    meap: meap.name,
    numSequences,
    scoreDecay: difference(scores, (ntp, meap) => ntp - meap),
    varianceIncrease: difference(variances, (ntp, meap) => meap - ntp),
  };
}

/** Collects the values of a statistic. */
class Collected {
  readonly values: number[] = [];
  readonly layers: number[][] = [];

  add(layers: readonly Float64Array[], statistic: (keys: Float64Array) => number): void {
    this.values.push(statistic(overLayers(layers)));
    this.layers.push(layers.map(statistic));
  }

  summary(): AttentionStatistic {
    const layers = this.layers[0].map((_, layer) => mean(this.layers.map((values) => values[layer])));
    return { values: this.values, mean: mean(this.values), layers };
  }
}

function difference(
  both: { ntp: Collected; meap: Collected },
  change: (ntp: number, meap: number) => number,
): AttentionDifference {
  const [ntp, meap] = [both.ntp.summary(), both.meap.summary()];
  const tests =
    ntp.values.length < 2
      ? {}
      : { paired: pairedTTest(meap.values, ntp.values), welch: welchTTest(meap.values, ntp.values) };
  return { ntp, meap, change: change(ntp.mean, meap.mean) / ntp.mean, ...tests };
}

function requireMasks({ ids, maskedPositions }: MaskedSequence, index: number): boolean[] {
  const isMasked = ids.map(() => false);
  for (const position of maskedPositions) {
    if (isMasked[position] !== false) {
      throw new EvalsError(
        `sequence ${index}: got the masked position ${position}, expected different ones from 0 to ${ids.length - 1}`,
      );
    }
    isMasked[position] = true;
  }
  if (maskedPositions.length === 0 || ids.length - maskedPositions.length < 2) {
    throw new EvalsError(
      `sequence ${index}: ${maskedPositions.length} of ${ids.length} positions are masked, ` +
        'expected at least one masked and two others',
    );
  }
  return isMasked;
}
