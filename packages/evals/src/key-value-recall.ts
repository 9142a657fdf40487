/** Associative recall (Arora et al. 2023, "Zoology", arXiv 2312.04927) of token pairs in one row. */
import { mean } from './aggregation.ts';
import { prefixId } from './encode-pair.ts';
import { requireWhole } from './error.ts';
import type { Score } from './language-model.ts';
import { PythonRandom } from './python-random.ts';
import { drawTokens, wordTokens } from './random-tokens.ts';
import type { Task, TaskItem } from './task.ts';

/** Options of {@link keyValueRecallTask}. */
export interface KeyValueRecallOptions {
  /** Numbers of pairs in a row; 2, 4, 8 and 16 by default. */
  readonly pairs?: readonly number[];
  /** Rows for each number of pairs; 32 by default. */
  readonly numRows?: number;
  /** 0 by default. */
  readonly seed?: number;
  /** Ids to draw from; by default those of common English words. */
  readonly ids?: readonly number[];
}

/**
 * `key_value_recall`: rows `k₁ v₁ k₂ v₂ … kₙ vₙ kᵢ` of random tokens, each different, after which vᵢ follows.
 *
 * `acc` counts rows in which vᵢ is the most probable of the n values. `margin` is its log-probability less that of the
 * best other value, in nats; it moves long before `acc` does. Groups: `pairs`, and `distance`, the pairs after the one
 * asked for.
 *
 * @throws EvalsError for numbers that are not whole or too small; when items are made, for too few ids, or a tokenizer
 *   without BOS and EOS
 */
export function keyValueRecallTask(options: KeyValueRecallOptions = {}): Task {
  const { pairs = [2, 4, 8, 16], numRows = 32, seed = 0 } = options;
  for (const count of pairs) requireWhole('key_value_recall: pairs', count, 2);
  requireWhole('key_value_recall: numRows', numRows, 1);
  return {
    name: 'key_value_recall',
    version: 1,
    metrics: [
      { name: 'acc', higherIsBetter: true, aggregation: mean },
      { name: 'margin', higherIsBetter: true, aggregation: mean },
    ],
    config: { pairs, num_rows: numRows, seed },
    hasRowsOfTokens: true,
    numItems: pairs.length * numRows,
    numQuestions: numRows,
    *items({ tokenizer, contextLength }, maxQuestions = numRows): Iterable<TaskItem> {
      const prefix = prefixId(tokenizer);
      const ids = options.ids ?? wordTokens(tokenizer);
      for (const count of pairs) {
        // A generator for each number of pairs: leaving one out changes no other row.
        const random = new PythonRandom(seed + 2 ** 32 * count);
        for (let row = 0; row < Math.min(numRows, maxQuestions); row++) {
          const tokens = drawTokens('key_value_recall', ids, 2 * count, random);
          // Every pair is asked for equally often.
          const asked = count - 1 - (row % count);
          const context = [prefix, ...tokens, tokens[2 * asked]];
          const values = tokens.filter((_, i) => i % 2 === 1);
          yield {
            id: `${count}-${row}`,
            groups: { pairs: count, distance: count - 1 - asked },
            chance: 1 / count,
            shown: { prompt: tokenizer.decode(context), answer: tokenizer.decode([values[asked]]) },
            ask:
              context.length > contextLength
                ? { kind: 'skip', reason: `${context.length} tokens, the model reads ${contextLength}` }
                : {
                    kind: 'score',
                    requests: values.map((value) => ({ context, continuation: [value] })),
                  },
            measure: (answers) => {
              const scores = (answers as readonly Score[]).map(({ logLikelihood }) => logLikelihood);
              const [right] = scores.splice(asked, 1);
              const margin = right - Math.max(...scores);
              return { acc: { value: Number(margin > 0) }, margin: { value: margin } };
            },
          };
        }
      }
    },
  };
}
