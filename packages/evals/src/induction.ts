/**
 * Induction on repeated random sequences (Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; Olsson
 * et al. 2022, arXiv 2209.11895): a model that finds the previous occurrence of a token predicts what followed it there.
 */
import { mean } from './aggregation.ts';
import { prefixId } from './encode-pair.ts';
import { EvalsError, requireWhole } from './error.ts';
import type { CallOptions, LanguageModel, Score } from './language-model.ts';
import { PythonRandom } from './python-random.ts';
import { drawTokens, wordTokens } from './random-tokens.ts';
import type { Task, TaskItem } from './task.ts';

/** Options of {@link inductionTask} and {@link prefixMatching}. */
export interface InductionOptions {
  /** Tokens of the sequence that is repeated; 25 by default. */
  readonly length?: number;
  /** Number of sequences; 32 by default. */
  readonly numSequences?: number;
  /** 0 by default. */
  readonly seed?: number;
  /** Ids to draw from; by default those of common English words. */
  readonly ids?: readonly number[];
}

/**
 * `induction`: how much more probable random tokens are the second time, in nats a token.
 *
 * `gain` is the log-probability of the repetition less that of the first occurrence; 0 for a model that does not look
 * back, about log(vocabulary) for one that copies. `acc` is the share of sequences that are repeated without an error.
 *
 * @throws EvalsError for a length below 2, or numbers that are not whole; when items are made, for fewer ids than
 *   `length`, or a tokenizer without BOS and EOS
 */
export function inductionTask(options: InductionOptions = {}): Task {
  const checked = checkedOptions(options);
  const { length, numSequences, seed } = checked;
  return {
    name: 'induction',
    version: 1,
    metrics: [
      { name: 'gain', higherIsBetter: true, aggregation: mean },
      { name: 'acc', higherIsBetter: true, aggregation: mean },
    ],
    config: { length, num_sequences: numSequences, seed },
    hasRowsOfTokens: true,
    numItems: numSequences,
    *items({ tokenizer, contextLength }): Iterable<TaskItem> {
      const prefix = prefixId(tokenizer);
      // The last token is scored, never read.
      const isTooLong = 2 * length > contextLength;
      for (const [index, tokens] of sequences(tokenizer, checked).entries()) {
        yield {
          id: String(index),
          shown: { tokens: tokenizer.decode(tokens) },
          ask: isTooLong
            ? { kind: 'skip', reason: `${2 * length} tokens, the model reads ${contextLength}` }
            : {
                kind: 'score',
                // Nothing tells that the sequence begins again: its first token is given.
                requests: [
                  { context: [prefix, tokens[0]], continuation: tokens.slice(1) },
                  { context: [prefix, ...tokens, tokens[0]], continuation: tokens.slice(1) },
                ],
              },
          measure: (answers) => {
            const [first, second] = answers as readonly Score[];
            return {
              gain: { value: (second.logLikelihood - first.logLikelihood) / (length - 1) },
              acc: { value: Number(second.isGreedy) },
            };
          },
        };
      }
    },
  };
}

/** How well heads find what followed the previous occurrence of a token. */
export interface PrefixMatching {
  /** The highest score of a head: 1 if it attends to nothing else, near 0 for a head without induction. */
  readonly score: number;
  /** Of every head, by layer. */
  readonly heads: readonly (readonly number[])[];
}

/**
 * Prefix-matching score of every head: the attention that the tokens of the repetition pay to the token after their first
 * occurrence, averaged over positions and sequences.
 *
 * @throws EvalsError for a model that shows no attention or whose context is shorter than two sequences, and as
 *   {@link inductionTask}; the signal's reason
 */
export async function prefixMatching(
  model: LanguageModel,
  options: InductionOptions & CallOptions = {},
): Promise<PrefixMatching> {
  const checked = checkedOptions(options);
  const { length, numSequences } = checked;
  if (!model.attention) throw new EvalsError('prefixMatching: the model shows no attention');
  if (2 * length + 1 > model.contextLength) {
    throw new EvalsError(
      `prefixMatching: got a context of ${model.contextLength} tokens, expected at least ${2 * length + 1}; set a shorter length`,
    );
  }
  const sums: number[][] = [];
  for (const tokens of sequences(model.tokenizer, checked)) {
    const ids = [prefixId(model.tokenizer), ...tokens, ...tokens];
    await model.attention(
      ids,
      ({ layer, head, queryStart, numQueries, numKeys, probabilities }) => {
        sums[layer] ??= [];
        const heads = sums[layer];
        heads[head] ??= 0;
        for (let query = Math.max(queryStart, length + 1); query < queryStart + numQueries; query++) {
          heads[head] += probabilities[(query - queryStart) * numKeys + query - length + 1];
        }
      },
      { signal: options.signal },
    );
  }
  const heads = sums.map((layer) => layer.map((sum) => sum / (length * numSequences)));
  return { score: Math.max(...heads.flat()), heads };
}

function checkedOptions({ length = 25, numSequences = 32, seed = 0, ids }: InductionOptions) {
  requireWhole('induction: length', length, 2);
  requireWhole('induction: numSequences', numSequences, 1);
  return { length, numSequences, seed, ids };
}

function sequences(
  tokenizer: LanguageModel['tokenizer'],
  { length, numSequences, seed, ids = wordTokens(tokenizer) }: ReturnType<typeof checkedOptions>,
): number[][] {
  const random = new PythonRandom(seed);
  return Array.from({ length: numSequences }, () => drawTokens('induction', ids, length, random));
}
