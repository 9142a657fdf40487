import { expect, test } from 'vitest';
import { Admission } from './admission.ts';

test('counts answers until their requests leave, all or none of a request', () => {
  const admission = new Admission(10);
  const [a, b] = [admission.enter(), admission.enter()];
  a.expect(1);
  a.expect(4);
  b.expect(6);
  expect(() => admission.requireRoom()).toThrow(/queue full: got 1 more answers to take on, room for 0/);
  a.leave();
  a.leave();
  const c = admission.enter();
  c.expect(1);
  expect(() => c.expect(5)).toThrow(/got 4 more answers to take on, room for 3/);
  c.expect(4);
  expect(() => admission.requireRoom()).toThrow();
});

test('a sixteenth is left to requests for one answer', () => {
  const admission = new Admission(32);
  expect(admission.mostAtOnce).toBe(30);
  admission.enter().expect(30);
  expect(() => admission.enter().expect(2)).toThrow(/room for 0/);
  admission.enter().expect(1);
  admission.enter().expect(1);
  expect(() => admission.enter().expect(1)).toThrow(/room for 0/);
});
