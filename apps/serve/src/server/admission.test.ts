import { expect, test } from 'vitest';
import { Admission } from './admission.ts';

test('counts answers until they are released, all or none of a request', () => {
  const admission = new Admission(10);
  const [a, b] = [admission.reserve(), admission.reserve()];
  a.resize(1);
  a.resize(4);
  b.resize(6);
  expect(() => admission.requireCapacity()).toThrow(/queue: got 1 more answers, expected at most 0/);
  a.release();
  a.release();
  const c = admission.reserve();
  c.resize(1);
  expect(() => c.resize(5)).toThrow(/got 4 more answers, expected at most 3/);
  c.resize(4);
  expect(() => admission.requireCapacity()).toThrow();
});

test('reserves a sixteenth for requests for one answer', () => {
  const admission = new Admission(32);
  expect(admission.maxPerRequest).toBe(30);
  admission.reserve().resize(30);
  expect(() => admission.reserve().resize(2)).toThrow(/expected at most 0/);
  admission.reserve().resize(1);
  admission.reserve().resize(1);
  expect(() => admission.reserve().resize(1)).toThrow(/expected at most 0/);
});
