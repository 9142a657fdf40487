// Against lm-evaluation-harness 0.4.13: fixtures/make_harness.py.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { bitsPerByte, mean, perplexity, weightedPerplexity } from './aggregation.ts';
import { encodePair } from './encode-pair.ts';
import { evaluate } from './evaluate.ts';
import { toHarnessJson } from './harness-json.ts';
import { lambadaTask } from './lambada.ts';
import type { Score, TextTokenizer } from './language-model.ts';
import { multipleChoiceTask } from './multiple-choice.ts';
import { perplexityTask, rollingWindows } from './perplexity.ts';
import type { Task } from './task.ts';
import { BOS, characters, functionModel } from './testing.ts';
import { zeroShot } from './zero-shot.ts';

type Pair = [context: string, continuation: string];
interface HarnessTask {
  rows: { text: string }[];
  samples: {
    pairs: Pair[];
    scores: [number, boolean][] | number[];
    metrics: Record<string, number | [number, number]>;
  }[];
  totals: Record<string, number | 'N/A'>;
}
interface Fixture {
  vocabulary: string[];
  tasks: Record<string, HarnessTask>;
  pairs: { bos: boolean; context: string; continuation: string; ids: [number[], number[]] }[];
  windows: {
    length: number;
    contextLength: number;
    minContext: number;
    windows: [context: number[], continuation: number[]][];
  }[];
  totals: { values: number[]; weights: number[] } & Record<string, [total: number, error: number]>;
}
const harness: Fixture = JSON.parse(
  readFileSync(new URL('../fixtures/harness.json', import.meta.url), 'utf8'),
);

function taskOf(name: string, rows: { text: string }[]): Task {
  if (name === 'perplexity') return perplexityTask(rows.map(({ text }) => text));
  if (name === 'lambada_openai') return lambadaTask(rows);
  return multipleChoiceTask(zeroShot[name as keyof typeof zeroShot], rows);
}

/** Answers with the scores that the harness' model gave to the same text. */
function modelOf({ samples }: HarnessTask) {
  const scores = new Map<string, Score>();
  for (const sample of samples) {
    for (const [i, pair] of sample.pairs.entries()) {
      const score = sample.scores[i];
      const [logLikelihood, isGreedy] = typeof score === 'number' ? [score, false] : score;
      scores.set(pair.join(''), { logLikelihood, isGreedy });
    }
  }
  return functionModel(
    ({ context, continuation }) => scores.get(characters.decode([...context, ...continuation]))!,
  );
}

describe.each(Object.entries(harness.tasks))('%s', (name, expected) => {
  const run = () => evaluate(taskOf(name, expected.rows), modelOf(expected));

  test('has the prompts and the numbers of each row', async () => {
    const { samples, skipped } = await run();
    expect(skipped).toEqual([]);
    for (const [row, sample] of samples.entries()) {
      const { pairs, metrics } = expected.samples[row];
      if (name !== 'perplexity') expect(sample.shown.pairs).toEqual(pairs);
      for (const [metric, value] of Object.entries(metrics)) {
        const measured = sample.measured[metric];
        expect(measured.weight === undefined ? measured.value : [measured.value, measured.weight]).toEqual(
          value,
        );
      }
    }
  });

  test('has the totals and their errors', async () => {
    const json = toHarnessJson([await run()]) as { results: Record<string, Record<string, number>> };
    for (const [metric, value] of Object.entries(expected.totals)) {
      const got = json.results[name][`${metric},none`];
      if (value === 'N/A') continue; // Known to us: see the totals below.
      // Bootstrapped there.
      if (metric === 'perplexity_stderr') expect(Math.abs(got / value - 1)).toBeLessThan(0.3);
      else expect(Math.abs(got - value)).toBeLessThanOrEqual(1e-13 * Math.abs(value));
    }
  });
});

test('totals', () => {
  const { values, weights } = harness.totals;
  const items = values.map((value, i) => ({ value, weight: weights[i] }));
  for (const aggregation of [mean, perplexity, weightedPerplexity, bitsPerByte]) {
    const [total, error] = harness.totals[aggregation.name];
    expect(aggregation.total(items)).toBeCloseTo(total, 12);
    // All but the mean's are bootstrapped there.
    const tolerance = aggregation === mean ? 1e-14 : 0.06;
    expect(Math.abs(aggregation.standardError(items)! / error - 1), aggregation.name).toBeLessThan(tolerance);
    expect(aggregation.standardError(items.slice(0, 1))).toBeUndefined();
  }
});

test('ids of contexts and continuations, with a tokenizer that merges across words', () => {
  const tokenizer: TextTokenizer = {
    bosId: BOS,
    encode(text) {
      const ids: number[] = [];
      for (let at = 0; at < text.length; ) {
        const [longest] = harness.vocabulary
          .slice(2)
          .filter((entry) => text.startsWith(entry, at))
          .sort((a, b) => b.length - a.length);
        ids.push(harness.vocabulary.indexOf(longest));
        at += longest.length;
      }
      return ids;
    },
    decode: (ids) => ids.map((id) => harness.vocabulary[id]).join(''),
  };
  for (const { bos, context, continuation, ids } of harness.pairs) {
    const got = encodePair(tokenizer, context, continuation, { bos });
    expect([got.context, got.continuation], JSON.stringify([bos, context, continuation])).toEqual(ids);
  }
});

test('rolling windows', () => {
  for (const { length, contextLength, minContext, windows } of harness.windows) {
    const ids = Array.from({ length }, (_, i) => 100 + i);
    const got = rollingWindows(ids, 7, contextLength, minContext);
    expect(got.map(({ context, continuation }) => [context, continuation])).toEqual(windows);
  }
});
