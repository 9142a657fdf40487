import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DuplicateCounter } from './duplicate-counter.ts';
import { temporaryFolder } from './testing.ts';

const path = () => join(temporaryFolder(), 'seen.bin');

test('counts repeats exactly while it remembers every text', () => {
  const counter = DuplicateCounter.create(path());
  for (let i = 0; i < 5000; i++) counter.add(`text ${i % 3000}`);
  expect(counter.result).toEqual({ count: 2000, oneIn: 1 });
  counter.close();
});

test('beyond its limit it remembers a share of the texts, and estimates', () => {
  const counter = DuplicateCounter.create(path(), 1000);
  for (let i = 0; i < 30_000; i++) counter.add(`text ${i % 20_000}`);
  const { count, oneIn } = counter.result;
  expect(oneIn).toBe(32);
  // Of some 600 texts that are remembered half are repeated; five standard deviations.
  expect(Math.abs(count - 10_000)).toBeLessThan(5 * 32 * Math.sqrt(10_000 / 32));
  counter.close();
});

test.each([1000, 2 ** 20])(
  'continues from a mark to the same result, with room for %i texts',
  async (max) => {
    const straight = DuplicateCounter.create(path(), max);
    const file = path();
    const begun = DuplicateCounter.create(file, max);
    const add = (counters: DuplicateCounter[], from: number, to: number) => {
      for (let i = from; i < to; i++) for (const counter of counters) counter.add(`text ${i % 4000}`);
    };
    add([straight, begun], 0, 3000);
    const mark = JSON.parse(JSON.stringify(begun.mark()));
    add([begun], 0, 500);
    begun.close();
    const resumed = await DuplicateCounter.reopen(file, mark, max);
    add([straight, resumed], 3000, 9000);
    expect(resumed.result).toEqual(straight.result);
    expect(resumed.mark()).toEqual(straight.mark());
    for (const counter of [straight, resumed]) counter.close();
  },
);
