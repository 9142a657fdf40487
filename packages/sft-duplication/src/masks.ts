import { CounterRandom } from '@meap/meap-masking';
import { SftError } from './error.ts';
import type { ResolvedOptions } from './options.ts';
import type { Answer, Sequence } from './sequence.ts';
import { TokenKind } from './types.ts';

/** Position of a sample in a run; its masks depend on this and the seed only. */
export interface SamplePosition {
  /** Pass over the data, from 0. */
  epoch: number;
  /** Index of the sample in its dataset, from 0, independent of shuffling and splits. */
  index: number;
}

/** Masked tokens of an answer, in ascending order. */
export interface AnswerMask {
  answer: Answer;
  positions: Int32Array;
}

/**
 * Draws the tokens to mask in each answer over the threshold: exactly max(1, floor(P · answer tokens)).
 *
 * As in the authors' code, the threshold applies to the length of the whole answer, the ratio to the tokens left after
 * truncation. The first token of a sequence is not masked, since nothing predicts it.
 */
export function drawMasks(sequence: Sequence, options: ResolvedOptions, at: SamplePosition): AnswerMask[] {
  const { ratio, seed, refresh } = options;
  if (ratio === 0) return [];
  const masks: AnswerMask[] = [];
  for (const answer of sequence.answers) {
    if (!isLong(answer, options, at.index)) continue;
    const candidates = new Int32Array(answer.end - answer.start);
    let numTokens = 0;
    let numCandidates = 0;
    for (let t = answer.start; t < answer.end; t++) {
      if (sequence.kinds[t] !== TokenKind.answer) continue;
      numTokens++;
      if (t > 0) candidates[numCandidates++] = t;
    }
    const random = new CounterRandom({
      seed,
      purpose: `sft-mask of answer ${answer.ordinal}`,
      step: refresh === 'static' ? 0 : at.epoch,
      row: at.index,
    });
    const count = Math.min(numCandidates, Math.max(1, Math.floor(numTokens * ratio)));
    const positions = random.nextSubset(candidates.subarray(0, numCandidates), count);
    if (count > 0) masks.push({ answer, positions });
  }
  return masks;
}

function isLong(answer: Answer, { threshold, thresholdUnit }: ResolvedOptions, index: number): boolean {
  if (thresholdUnit === 'tokens') return answer.numTokens > threshold;
  if (!(answer.numCharacters >= 0)) {
    throw new SftError(
      `sample ${index}, answer ${answer.ordinal}: no length in characters, got numCharacters ` +
        `${answer.numCharacters}, expected a number of at least 0; set it on trainable segments or use thresholdUnit tokens`,
    );
  }
  return answer.numCharacters > threshold;
}

/**
 * A random order for an epoch, of samples before packing or of rows after it; the same on every rank.
 *
 * @returns Int32Array [count], a permutation of 0 … count − 1.
 */
export function epochOrder(options: { count: number; seed: number; epoch: number }): Int32Array {
  const { count, seed, epoch } = options;
  const random = new CounterRandom({ seed, purpose: 'sft-order', step: epoch, row: 0 });
  const order = Int32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const pick = random.nextBelow(i + 1);
    const moved = order[i];
    order[i] = order[pick];
    order[pick] = moved;
  }
  return order;
}
