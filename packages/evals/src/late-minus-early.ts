/** How much better a model predicts late in a text than early: whether it uses what it has read. */
import { mean } from './aggregation.ts';
import { EvalsError, requireWhole } from './error.ts';
import type { Score } from './language-model.ts';
import type { Task, TaskItem } from './task.ts';

/** Options of {@link lateMinusEarlyTask}. */
export interface LateMinusEarlyOptions {
  /** Tokens of a window, from 20; by default the model's context. */
  readonly length?: number;
  /** Maximum number of windows from the start of a text; default 4. */
  readonly maxWindows?: number;
}

/** Shortest window: two tokens early, two late. */
const MIN_LENGTH = 20;

/**
 * `late_minus_early`: the loss of the last tenth of a window less that of its second tenth, in nats a token; `late` and
 * `early` are these losses. The in-context learning score of Olsson et al. 2022 (arXiv 2209.11895) compares token 500
 * with token 50.
 *
 * @param texts split into windows, each without the tokens that fill none; a list of ids is one window
 * @throws EvalsError for invalid sizes; from `items` for a list of fewer than 20 ids
 */
export function lateMinusEarlyTask(
  texts: readonly (string | readonly number[])[],
  { length, maxWindows = 4 }: LateMinusEarlyOptions = {},
): Task {
  requireWhole('late_minus_early: length', length ?? MIN_LENGTH, MIN_LENGTH);
  requireWhole('late_minus_early: maxWindows', maxWindows, 1);
  return {
    name: 'late_minus_early',
    version: 1,
    metrics: [
      { name: 'difference', higherIsBetter: false, aggregation: mean },
      { name: 'early', higherIsBetter: false, aggregation: mean },
      { name: 'late', higherIsBetter: false, aggregation: mean },
    ],
    config: { output_type: 'loglikelihood', length: length ?? null, maxWindows },
    hasRowsOfTokens: true,
    *items({ tokenizer, contextLength }): Iterable<TaskItem> {
      for (const [text, content] of texts.entries()) {
        const windows =
          typeof content === 'string'
            ? split(tokenizer.encode(content), length ?? contextLength, maxWindows)
            : [content];
        for (const [window, ids] of windows.entries()) yield item(`${text}-${window}`, ids, contextLength);
      }
    },
  };
}

function item(id: string, ids: readonly number[], contextLength: number): TaskItem {
  if (ids.length < MIN_LENGTH) {
    throw new EvalsError(
      `late_minus_early: row ${id} has ${ids.length} tokens, expected at least ${MIN_LENGTH}`,
    );
  }
  const at = (share: number) => Math.floor(share * ids.length);
  const parts = [
    [at(0.1), at(0.2)],
    [at(0.9), ids.length],
  ];
  // The last token is predicted, never read.
  const isTooLong = ids.length - 1 > contextLength;
  return {
    id,
    shown: { numTokens: ids.length },
    ask: isTooLong
      ? { kind: 'skip', reason: `${ids.length - 1} tokens, the model reads ${contextLength}` }
      : {
          kind: 'score',
          requests: parts.map(([from, to]) => ({
            context: ids.slice(0, from),
            continuation: ids.slice(from, to),
          })),
        },
    measure: (answers) => {
      const [early, late] = (answers as readonly Score[]).map(
        ({ logLikelihood }, i) => -logLikelihood / (parts[i][1] - parts[i][0]),
      );
      return { difference: { value: late - early }, early: { value: early }, late: { value: late } };
    },
  };
}

/** Windows from the start of a text. */
function split(ids: readonly number[], size: number, maxWindows: number): (readonly number[])[] {
  const count = Math.min(maxWindows, Math.floor(ids.length / size));
  return Array.from({ length: count }, (_, window) => ids.slice(window * size, (window + 1) * size));
}
