import { expect, it } from 'vitest';
import { evaluate } from './evaluate.ts';
import type { ScoreRequest } from './language-model.ts';
import { lateMinusEarlyTask } from './late-minus-early.ts';
import { functionModel } from './testing.ts';

/** Every token costs as many nats as tokens before it. */
const costly = ({ context, continuation }: ScoreRequest) => ({
  logLikelihood: -continuation.reduce((sum, _, i) => sum + context.length + i, 0),
  isGreedy: false,
});

const row = Array.from({ length: 50 }, (_, i) => i);

it('compares the last tenth of a row with its second', async () => {
  const model = functionModel(costly);
  const { results } = await evaluate(lateMinusEarlyTask([row, row]), model);
  // Tokens 5 to 9, and 45 to 49.
  expect(results).toMatchObject({ early: { value: 7 }, late: { value: 47 }, difference: { value: 40 } });
  expect(model.calls.flat()[0]).toMatchObject({ context: { length: 45 }, continuation: row.slice(45) });
});

it('splits texts into windows', async () => {
  const text = 'a '.repeat(400);
  const ids = functionModel(costly).tokenizer.encode(text);
  const { samples } = await evaluate(
    lateMinusEarlyTask([text], { length: 60, maxWindows: 3 }),
    functionModel(costly),
  );
  expect(samples.map(({ id }) => id)).toEqual(['0-0', '0-1', '0-2']);
  const whole = await evaluate(lateMinusEarlyTask([text], { length: ids.length }), functionModel(costly));
  expect(whole.samples).toHaveLength(1);
  const short = await evaluate(lateMinusEarlyTask(['a'], { length: 60 }), functionModel(costly));
  expect([short.samples, short.results]).toEqual([[], {}]);
});

it('skips rows that the model cannot read, and refuses short ones', async () => {
  const { skipped } = await evaluate(lateMinusEarlyTask([row]), functionModel(costly, { contextLength: 48 }));
  expect(skipped).toEqual([{ id: '0-0', reason: '49 tokens, the model reads 48' }]);
  const { samples } = await evaluate(lateMinusEarlyTask([row]), functionModel(costly, { contextLength: 49 }));
  expect(samples).toHaveLength(1);
  await expect(evaluate(lateMinusEarlyTask([row.slice(31)]), functionModel(costly))).rejects.toThrow(
    'row 0-0 has 19 tokens, expected at least 20',
  );
  expect(() => lateMinusEarlyTask([], { length: 19 })).toThrow(
    'length: got 19, expected a whole number from 20',
  );
});
