import { expect, test, vi } from 'vitest';
import { merge } from './answer-pieces.ts';

async function* count(name: number, length: number): AsyncGenerator<[number, number], void, undefined> {
  for (let i = 0; i < length; i++) yield [name, i];
}

test('merges many sources in order, at a cost proportional to the items', async () => {
  // Promise.race over all sources for each item takes a minute.
  const numSources = 2000;
  const numItems = 20;
  const next: number[] = new Array(numSources).fill(0);
  let numMisplaced = 0;
  for await (const [source, i] of merge(next.map((_, source) => count(source, numItems)))) {
    if (i !== next[source]++) numMisplaced++;
  }
  expect(numMisplaced).toBe(0);
  expect(next.every((length) => length === numItems)).toBe(true);
});

test('alternates between sources', async () => {
  const order: number[] = [];
  for await (const [source] of merge([count(0, 3), count(1, 3)])) order.push(source);
  expect(order).toEqual([0, 1, 0, 1, 0, 1]);
});

test('an error or an early return ends all sources', async () => {
  const left = vi.fn();
  async function* endless() {
    try {
      for (;;) yield 1;
    } finally {
      left();
    }
  }
  async function* failing() {
    yield 1;
    throw new Error('broken');
  }
  const all = async () => {
    for await (const _ of merge([endless(), failing(), endless()]));
  };
  await expect(all()).rejects.toThrow('broken');
  expect(left).toHaveBeenCalledTimes(2);
  for await (const _ of merge([endless(), endless()])) break;
  expect(left).toHaveBeenCalledTimes(4);
});

test('does not read ahead', async () => {
  let made = 0;
  async function* source() {
    for (;;) yield made++;
  }
  const merged = merge([source()]);
  for (let i = 0; i < 5; i++) await merged.next();
  await new Promise(setImmediate);
  expect(made).toBeLessThanOrEqual(6);
  await merged.return();
});
