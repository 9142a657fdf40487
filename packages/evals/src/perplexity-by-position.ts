/** Perplexity by the number of preceding tokens: whether a model uses its whole context. */
import { weightedPerplexity } from './aggregation.ts';
import { prefixId } from './encode-pair.ts';
import { requireWhole } from './error.ts';
import type { Score } from './language-model.ts';
import type { Task, TaskItem } from './task.ts';

/** Options of {@link perplexityByPositionTask}. */
export interface PerplexityByPositionOptions {
  /** Tokens of a window; by default the model's context. Positions beyond the model's context are skipped. */
  readonly length?: number;
  /** Maximum number of windows from the start of a text; default 4. Shorter texts are ignored. */
  readonly maxWindows?: number;
  /** Positions of the first group; each later one is as long as all before it. Default 256. */
  readonly firstGroup?: number;
}

/**
 * Perplexity of the tokens of long texts, grouped by the number of preceding tokens.
 *
 * Each text is split into windows of full length, and each window starts after BOS (or EOS without BOS). A model that
 * uses its whole context predicts better from group to group; one that does not generalize beyond its trained positions
 * gets worse there (Chen et al. 2023, arXiv 2306.15595, §3.2; Press et al. 2022, arXiv 2108.12409).
 *
 * @throws EvalsError for invalid sizes; from `items`, for a tokenizer without BOS and EOS
 */
export function perplexityByPositionTask(
  texts: readonly string[],
  { length, maxWindows = 4, firstGroup = 256 }: PerplexityByPositionOptions = {},
): Task {
  for (const [name, value] of Object.entries({ length: length ?? 1, maxWindows, firstGroup })) {
    requireWhole(`perplexity by position: ${name}`, value, 1);
  }
  return {
    name: 'perplexity_by_position',
    version: 1,
    metrics: [{ name: 'token_perplexity', higherIsBetter: false, aggregation: weightedPerplexity }],
    config: { output_type: 'loglikelihood', length: length ?? null, maxWindows, firstGroup },
    hasRowsOfTokens: true,
    *items({ tokenizer, contextLength }): Iterable<TaskItem> {
      const size = length ?? contextLength;
      const prefix = prefixId(tokenizer);
      for (const [text, content] of texts.entries()) {
        const ids = tokenizer.encode(content);
        const numWindows = Math.min(maxWindows, Math.floor(ids.length / size));
        for (let window = 0; window < numWindows; window++) {
          const tokens = ids.slice(window * size, (window + 1) * size);
          for (const [from, to] of positionGroups(size, firstGroup)) {
            const request = {
              context: [prefix, ...tokens.slice(0, from)],
              continuation: tokens.slice(from, to),
            };
            yield {
              id: `${text}-${window}-${from}`,
              groups: { positions: `${from}-${to - 1}` },
              shown: { text, window, from, to },
              ask:
                to > contextLength
                  ? { kind: 'skip', reason: `position ${to - 1} is beyond the context of ${contextLength}` }
                  : { kind: 'score', requests: [request] },
              measure: ([answer]) => ({
                token_perplexity: { value: (answer as Score).logLikelihood, weight: to - from },
              }),
            };
          }
        }
      }
    },
  };
}

/** Half-open ranges that double: 0 to first, first to 2·first, … */
function positionGroups(length: number, first: number): [from: number, to: number][] {
  const groups: [number, number][] = [];
  for (let from = 0; from < length; from = from === 0 ? first : 2 * from) {
    groups.push([from, Math.min(length, from === 0 ? first : 2 * from)]);
  }
  return groups;
}
