/** How well a model predicts texts: perplexity per word and per byte, bits per byte. */
import { bitsPerByte, weightedPerplexity } from './aggregation.ts';
import { bosId, prefixId } from './encode-pair.ts';
import { EvalsError } from './error.ts';
import type { Score, ScoreRequest } from './language-model.ts';
import { countWords } from './python-text.ts';
import type { Task, TaskItem } from './task.ts';

/** Options of {@link perplexityTask}. */
export interface PerplexityOptions {
  /**
   * Whether BOS is a token of the text, predicted like any other; false when absent.
   *
   * The harness does so where BOS is added to texts (see {@link EncodingOptions}): it predicts BOS from BOS, which
   * costs a little. Needed only to get its number.
   */
  readonly bos?: boolean;
  /** Name of the task; `perplexity` when absent. */
  readonly name?: string;
  /**
   * Least tokens before each token that is predicted, other than at the beginning of a text; 1 when absent, as in the
   * harness. More cost more: windows then overlap by that much.
   */
  readonly minContext?: number;
}

/**
 * Perplexity of texts, each on its own, in rolling windows: `loglikelihood_rolling` of lm-evaluation-harness 0.4.13.
 *
 * Every token is predicted exactly once, the first one from BOS (or EOS where there is no BOS), in windows as long as
 * the model's context. Words are what white space separates.
 *
 * @throws EvalsError, when items are made, for a tokenizer that lacks the id it takes, or `minContext` out of range.
 */
export function perplexityTask(
  texts: readonly string[],
  { bos = false, name = 'perplexity', minContext = 1 }: PerplexityOptions = {},
): Task {
  return {
    name,
    version: 1,
    metrics: [
      { name: 'word_perplexity', higherIsBetter: false, aggregation: weightedPerplexity },
      { name: 'byte_perplexity', higherIsBetter: false, aggregation: weightedPerplexity },
      { name: 'bits_per_byte', higherIsBetter: false, aggregation: bitsPerByte },
    ],
    config: { output_type: 'loglikelihood_rolling', num_fewshot: 0, bos, min_context: minContext },
    numItems: texts.length,
    *items({ tokenizer, contextLength }): Iterable<TaskItem> {
      for (const [index, text] of texts.entries()) {
        const encoded = tokenizer.encode(text);
        const ids = bos ? [bosId(tokenizer), ...encoded] : encoded;
        const numBytes = new TextEncoder().encode(text).length;
        yield {
          id: String(index),
          shown: { text: text.slice(0, 200), numBytes, numTokens: ids.length },
          ask:
            encoded.length === 0
              ? { kind: 'skip', reason: 'an empty text' }
              : {
                  kind: 'score',
                  requests: rollingWindows(ids, prefixId(tokenizer), contextLength, minContext),
                },
          measure(answers) {
            let value = 0;
            for (const { logLikelihood } of answers as readonly Score[]) value += logLikelihood;
            return {
              word_perplexity: { value, weight: countWords(text) },
              byte_perplexity: { value, weight: numBytes },
              bits_per_byte: { value, weight: numBytes },
            };
          },
        };
      }
    },
  };
}

/**
 * Requests that predict every id exactly once.
 *
 * The first predicts as many as fit after `prefix`; each later one as many as fit after `minContext` ids; the last one
 * has as much before it as fits.
 */
export function rollingWindows(
  ids: readonly number[],
  prefix: number,
  contextLength: number,
  minContext: number,
): ScoreRequest[] {
  if (!(Number.isInteger(minContext) && minContext >= 1 && minContext <= contextLength)) {
    throw new EvalsError(
      `perplexity: minContext is out of range, got ${minContext}, expected an integer from 1 to the model's context length ${contextLength}`,
    );
  }
  const windows = [{ context: [prefix], continuation: ids.slice(0, contextLength) }];
  let start = contextLength;
  while (start < ids.length) {
    const end = Math.min(start + contextLength - minContext + 1, ids.length);
    windows.push({
      context: ids.slice(Math.max(0, end - contextLength - 1), start),
      continuation: ids.slice(start, end),
    });
    start = end;
  }
  return windows;
}
