/** Perplexity of texts per word and per byte, bits per byte. */
import { bitsPerByte, weightedPerplexity } from './aggregation.ts';
import { bosId, prefixId } from './encode-pair.ts';
import { EvalsError } from './error.ts';
import type { Score, ScoreRequest } from './language-model.ts';
import { countWords } from './python-text.ts';
import type { Task, TaskItem } from './task.ts';

/** Options of {@link perplexityTask}. */
export interface PerplexityOptions {
  /**
   * Whether BOS is a token of the text that is predicted like any other; default false.
   *
   * With BOS (see {@link EncodingOptions}) the harness predicts BOS from BOS; set this only to reproduce its number.
   */
  readonly bos?: boolean;
  /** Name of the task; default `perplexity`. */
  readonly name?: string;
  /** Rows of the texts, for logs; default `{text}`. */
  readonly rows?: readonly unknown[];
  /** Texts whose words and bytes count, in the same order; default the texts that the model reads. */
  readonly counted?: readonly string[];
  /**
   * Minimum context of every predicted token, except at the start of a text; default 1, as in the harness. Windows
   * overlap by this many tokens, so more context costs more.
   */
  readonly minContext?: number;
}

/**
 * Perplexity of separate texts in rolling windows: `loglikelihood_rolling` of lm-evaluation-harness 0.4.13.
 *
 * Every token is predicted exactly once, the first one from BOS (or EOS without BOS), in windows of the model's context.
 * Words are separated by white space.
 *
 * @throws EvalsError (from `items`) for a tokenizer without the required id, or `minContext` out of range
 */
export function perplexityTask(
  texts: readonly string[],
  { bos = false, name = 'perplexity', counted = texts, rows, minContext = 1 }: PerplexityOptions = {},
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
        const numBytes = new TextEncoder().encode(counted[index]).length;
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
          log(answers) {
            const resp = sumOf(answers as readonly Score[]);
            const doc = rows?.[index] ?? { text };
            return [
              {
                filter: 'none',
                doc,
                target: counted[index],
                arguments: [[text]],
                resps: [[resp]],
                filteredResps: [resp],
              },
            ];
          },
          measure(answers) {
            const value = sumOf(answers as readonly Score[]);
            return {
              word_perplexity: { value, weight: countWords(counted[index]) },
              byte_perplexity: { value, weight: numBytes },
              bits_per_byte: { value, weight: numBytes },
            };
          },
        };
      }
    },
  };
}

const sumOf = (scores: readonly Score[]) => scores.reduce((sum, { logLikelihood }) => sum + logLikelihood, 0);

/**
 * Requests that predict every id exactly once.
 *
 * The first predicts as many ids as fit after `prefix`, each later one as many as fit after `minContext` ids; the last
 * one has as much context as fits.
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
