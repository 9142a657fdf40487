import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { EvalsError } from './error.ts';
import { numpyIntegers, PythonRandom } from './python-random.ts';

interface Drawn {
  seed: number;
  random: number[];
  bits: string;
  integers: number[];
  choice: string;
  shuffled: number[];
  fromFew: number[];
  fromMany: number[];
  most: number[];
  letters: string;
  later: number;
}
const fixture: { random: Drawn[]; numpy: { seed: number; integers: number[] }[] } = JSON.parse(
  readFileSync(new URL('../fixtures/text-scores.json', import.meta.url), 'utf8'),
);

const times = <T>(count: number, draw: () => T) => Array.from({ length: count }, draw);

test.each(fixture.random)('seed $seed draws as CPython', ({ seed, ...wanted }) => {
  const random = new PythonRandom(seed);
  const shuffled = times(30, () => 0).map((_, index) => index);
  random.shuffle(shuffled);
  expect({
    random: times(3, () => random.random()),
    bits: random
      .bits32(4)
      .reverse()
      .map((word) => word.toString(16).padStart(8, '0'))
      .join(''),
    integers: times(3, () => random.integer(1_000_000, 9_999_999)),
    choice: random.choice([...'abcdefg']),
    shuffled,
    fromFew: random.sampleRange(20, 5),
    fromMany: random.sampleRange(1000, 7),
    most: random.sample(
      times(90, () => 0).map((_, index) => index),
      80,
    ),
    letters: random.letters('ABCDEFGHIJKLMNOPQRSTUVWXYZ', 12),
    later: times(1000, () => random.random()).at(-1),
  }).toEqual(wanted);
});

test.each(fixture.numpy)('seed $seed draws integers as numpy', ({ seed, integers }) => {
  expect(times(8, numpyIntegers(seed, 10_000, 99_999))).toEqual(integers);
});

test.each([-1, 0.5, 2 ** 53])('seed %j is refused', (seed) => {
  expect(() => new PythonRandom(seed)).toThrow(EvalsError);
});

test('cannot sample more than the list', () => {
  expect(() => new PythonRandom(1).sample([1, 2], 3)).toThrow('sample: got 3 of 2 entries');
});
