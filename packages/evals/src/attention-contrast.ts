/**
 * Compares the attention of a MEAP and an NTP model (Table 10 of the MEAP paper): lower on masked tokens, with a higher
 * variance over the others.
 */
import { type AnswerStore, storedAnswers } from './answers.ts';
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
  /** Stores the attention of each model on each sequence; without a store it is computed. */
  readonly store?: AnswerStore<SequenceAttention>;
  /** Called after each sequence. */
  readonly onProgress?: (numSequences: number) => void;
}

/** Attention of one model on one sequence: mean at masked keys, variance over the others. */
export interface SequenceAttention {
  readonly masked: LayerValues;
  readonly variance: LayerValues;
}

/** A number of one sequence, and its value in each layer. */
export interface LayerValues {
  /** Of the attention averaged over layers. */
  readonly value: number;
  /** Of each layer. */
  readonly layers: readonly number[];
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
  /** MEAP minus NTP, paired by sequence; absent for fewer than three sequences, and without variance. */
  readonly paired?: TTest;
  /** MEAP minus NTP, as independent samples; absent likewise. */
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
  { maskId, store, onProgress, signal }: ContrastOptions,
): Promise<AttentionContrast> {
  const found = { ntp: [] as SequenceAttention[], meap: [] as SequenceAttention[] };
  let numSequences = 0;
  for (const sequence of sequences) {
    const isMasked = requireMasks(sequence, numSequences);
    const inputs = [
      { model: ntp, ids: sequence.ids },
      { model: meap, ids: sequence.ids.map((id, i) => (isMasked[i] ? maskId : id)) },
    ];
    const [ofNtp, ofMeap] = await storedAnswers(
      store,
      inputs.map(({ model, ids }) => ({
        key: JSON.stringify([model.fingerprint, 'masked attention', ids, sequence.maskedPositions]),
        compute: () => attentionOn(model, ids, isMasked, { signal }),
      })),
    );
    found.ntp.push(ofNtp);
    found.meap.push(ofMeap);
    numSequences++;
    onProgress?.(numSequences);
  }
  if (numSequences === 0) throw new EvalsError('contrastAttention: got no sequences, expected at least one');
  return {
    ntp: ntp.name,
    meap: meap.name,
    numSequences,
    scoreDecay: difference(found, 'masked', (ntp, meap) => ntp - meap),
    varianceIncrease: difference(found, 'variance', (ntp, meap) => meap - ntp),
  };
}

async function attentionOn(
  model: LanguageModel,
  ids: readonly number[],
  isMasked: readonly boolean[],
  options: CallOptions,
): Promise<SequenceAttention> {
  const layers = await meanAttention(model, ids, 'causal', options);
  const valuesOf = (statistic: (keys: Float64Array) => number): LayerValues => {
    return { value: statistic(overLayers(layers)), layers: layers.map(statistic) };
  };
  return {
    masked: valuesOf((keys) => mean(keys.filter((_, key) => isMasked[key]))),
    variance: valuesOf((keys) => variance(keys.filter((_, key) => !isMasked[key]))),
  };
}

function summarize(found: readonly LayerValues[]): AttentionStatistic {
  const values = found.map(({ value }) => value);
  const layers = found[0].layers.map((_, layer) => mean(found.map(({ layers }) => layers[layer])));
  return { values, mean: mean(values), layers };
}

function difference(
  found: Readonly<Record<'ntp' | 'meap', readonly SequenceAttention[]>>,
  statistic: keyof SequenceAttention,
  change: (ntp: number, meap: number) => number,
): AttentionDifference {
  const [ntp, meap] = [found.ntp, found.meap].map((side) => summarize(side.map((one) => one[statistic])));
  return {
    ntp,
    meap,
    change: change(ntp.mean, meap.mean) / ntp.mean,
    paired: pairedTTest(meap.values, ntp.values),
    welch: welchTTest(meap.values, ntp.values),
  };
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
