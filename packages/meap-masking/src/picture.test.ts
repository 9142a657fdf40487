import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MaskingError } from './error.ts';
import { describeMask, renderMaskedRow } from './picture.ts';

const tokens = ['<s>', 'Once', ' upon', ' a', ' time', ',', '\n', 'there', ' was'];

describe('renderMaskedRow', () => {
  it('draws the inputs above the targets', () => {
    expect(renderMaskedRow(tokens, [2, 5])).toBe(
      'input  <s>  Once  [mask] ·a    ·time [mask] ↵     there\n' +
        'target Once ·upon ·a     ·time ,     ↵      there ·was',
    );
  });

  it('draws the tokens that replaced the masked ones', () => {
    const maskToken = (position: number) => (position === 2 ? ' fox' : '\n');
    expect(renderMaskedRow(tokens, [2, 5], { maskToken })).toBe(
      'input  <s>  Once  ·fox ·a    ·time ↵ ↵     there\n' +
        'target Once ·upon ·a   ·time ,     ↵ there ·was',
    );
  });

  it('wraps lines at the width and keeps all tokens', () => {
    fc.assert(
      fc.property(
        fc.array(fc.stringMatching(/^[a-z]{1,12}$/), { minLength: 2, maxLength: 60 }),
        fc.integer({ min: 25, max: 120 }),
        fc.nat(),
        (row, width, pick) => {
          const masked = pick % (row.length - 1);
          const lines = renderMaskedRow(row, [masked], { width, maskToken: '#' }).split('\n');
          expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(width);
          const read = (label: string) =>
            lines
              .filter((line) => line.startsWith(label))
              .flatMap((line) => line.slice(7).trim().split(/ +/));
          expect(read('input')).toEqual(row.slice(0, -1).map((token, i) => (i === masked ? '#' : token)));
          expect(read('target')).toEqual(row.slice(1));
        },
      ),
    );
  });

  it('adds colour without changing the text', () => {
    const plain = renderMaskedRow(tokens, [2, 5]);
    const coloured = renderMaskedRow(tokens, [2, 5], { color: true });
    expect(coloured).toContain('\u001b[7;36m[mask]\u001b[0m');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape codes are what is removed
    expect(coloured.replace(/\u001b\[[\d;]*m/g, '')).toBe(plain);
  });

  it('lets no control character of the text reach the terminal', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { maxLength: 10 }), (row) => {
        expect(renderMaskedRow(row, []).replaceAll('\n', '')).not.toMatch(/\p{C}/u);
      }),
      { numRuns: 20 },
    );
    expect(renderMaskedRow(['\u001b[2J', 'a'], [])).toBe('input  �[2J\ntarget a');
  });

  it('returns nothing for an empty row, and refuses positions that are not inputs', () => {
    expect(renderMaskedRow([], [])).toBe('');
    for (const position of [8, -1, 0.5]) {
      expect(() => renderMaskedRow(tokens, [position])).toThrow(MaskingError);
    }
  });
});

describe('describeMask', () => {
  it('counts tokens and runs', () => {
    const describe = (...positions: number[]) =>
      describeMask({ length: 20, positions: Int32Array.from(positions) });
    expect(describe(3, 4, 5, 9)).toBe('4 of 20 tokens masked (20.0 %) in 2 runs, the longest 3');
    expect(describe(7)).toBe('1 of 20 tokens masked (5.0 %) in 1 run, the longest 1');
    expect(describe()).toBe('0 of 20 tokens masked (0.0 %)');
    expect(describeMask({ length: 0, positions: new Int32Array(0) })).toBe('0 of 0 tokens masked (0.0 %)');
  });
});
