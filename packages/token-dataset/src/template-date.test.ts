import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { fixedStrftime } from './template-date.ts';
import { fixture } from './testing.ts';

const python: Record<string, string | null> = JSON.parse(readFileSync(fixture('strftime.json'), 'utf8'));

it('writes every code as in Python, and refuses unknown codes', () => {
  const own = Object.keys(python).map((format) => {
    try {
      return [format, fixedStrftime(format)];
    } catch {
      return [format, null];
    }
  });
  expect(Object.fromEntries(own)).toEqual(python);
});

it.each(['%Q', '%-f', '%5d', '%Ed', '%é', '%:z'])('refuses %s by name', (code) => {
  expect(() => fixedStrftime(`on ${code}`)).toThrow(`strftime_now: unknown code ${code.slice(0, 2)}`);
});
