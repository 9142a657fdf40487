import fc from 'fast-check';
import { expect, test } from 'vitest';
import { StopScanner, StopSequences } from './stop-scanner.ts';

/** Bytes of a text split at any position, also within characters. */
const cutBytes = fc
  .tuple(fc.string({ unit: fc.constantFrom('a', 'b', 'é', '😀') }), fc.array(fc.nat(60)))
  .map(([text, cuts]) => {
    const bytes = new TextEncoder().encode(text);
    const at = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
    return { text, pieces: at.slice(1).map((end, i) => bytes.subarray(at[i], end)) };
  });

test('property: returns the text up to the first stop sequence, and only final text', () => {
  const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', '😀'), minLength: 1, maxLength: 6 }), {
    maxLength: 1,
  });
  const property = fc.property(cutBytes, stops, ({ text, pieces }, ends) => {
    const scanner = new StopScanner(new StopSequences(ends));
    let given = '';
    for (const piece of pieces) {
      given += scanner.push(piece);
      expect(text.startsWith(given)).toBe(true);
    }
    given += scanner.end();
    const at = ends.map((end) => text.indexOf(end)).find((index) => index >= 0);
    expect(scanner.isStopped).toBe(at !== undefined);
    expect(given).toBe(at === undefined ? text : text.slice(0, at));
    expect(scanner.numCharacters).toBe([...given].length);
  });
  fc.assert(property, { numRuns: 1000 });
});

test('property: the stop sequence that starts first counts, and no more text than necessary is held back', () => {
  const unit = fc.constantFrom('a', 'b', 'ab', 'ba');
  const words = fc.array(fc.string({ unit, minLength: 1, maxLength: 5 }), { maxLength: 4 });
  const property = fc.property(fc.array(fc.string({ unit })), words, (pieces, ends) => {
    const scanner = new StopScanner(new StopSequences(ends));
    let text = '';
    let given = '';
    for (const piece of pieces) {
      text += piece;
      given += scanner.push(new TextEncoder().encode(piece));
      const found = ends.map((end) => text.indexOf(end)).filter((index) => index >= 0);
      if (found.length > 0) {
        expect([scanner.isStopped, given]).toEqual([true, text.slice(0, Math.min(...found))]);
        return;
      }
      const isOpen = (start: number) => ends.some((end) => end.startsWith(text.slice(start)));
      const open = Array.from(text, (_, start) => start).find(isOpen) ?? text.length;
      expect([scanner.isStopped, given]).toEqual([false, text.slice(0, open)]);
    }
  });
  fc.assert(property, { numRuns: 2000 });
});

test('the time does not depend on the length of stop sequences', () => {
  // Naive comparison would take minutes.
  const stops = new StopSequences(Array.from({ length: 64 }, (_, i) => `${'a'.repeat(900 + i)}b`));
  const scanner = new StopScanner(stops);
  const bytes = new TextEncoder().encode('a'.repeat(20));
  let length = 0;
  for (let i = 0; i < 2000; i++) length += scanner.push(bytes).length;
  expect(length + scanner.end().length).toBe(40_000);
});

test('holds back only prefixes of stop sequences', () => {
  const scanner = new StopScanner(new StopSequences(['\n\n', 'END']));
  const push = (text: string) => scanner.push(new TextEncoder().encode(text));
  expect(push('one\n')).toBe('one');
  expect(push('twoE')).toBe('\ntwo');
  expect(push('N')).toBe('');
  expect(push('x')).toBe('ENx');
  expect(push('END\n\n')).toBe('');
  expect(scanner.isStopped).toBe(true);
  expect(push('more') + scanner.end()).toBe('');
});

test('invalid bytes become U+FFFD', () => {
  const scanner = new StopScanner(new StopSequences([]));
  expect(scanner.push(Uint8Array.of(0xf0, 0x9f))).toBe('');
  expect(scanner.push(Uint8Array.of(0x41))).toBe('\u{fffd}A');
  expect(scanner.push(Uint8Array.of(0xc3)) + scanner.end()).toBe('\u{fffd}');
});
