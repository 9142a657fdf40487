import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createDuplicator } from './duplicate.ts';
import { renderRow } from './picture.ts';
import { joinRows, packRows } from './rows.ts';

const texts = ['[MASK]', '</s>', '<s>', ' Three', ' colours', '?', ' red', ',', ' green', '\n', 'blue'];
const text = (id: number) => texts[id];
const sample = {
  segments: [
    { ids: [2, 3, 4, 5], role: 'user', trainable: false },
    { ids: [6, 7, 8, 9, 10, 1], role: 'assistant', trainable: true },
  ],
};
const options = { maskId: 0, specialIds: [1, 2], maxLength: 32, threshold: 4, ratio: 0.4, seed: 2 };
const rowOf = (layout: 'packed-isolated' | 'concatenated') =>
  createDuplicator({ ...options, layout }).duplicate(sample, { epoch: 0, index: 0 }).rows[0];

describe('renderRow', () => {
  it('draws inputs above targets with loss, without padding', () => {
    const [row] = packRows([rowOf('packed-isolated')], { length: 30 }).rows;
    expect(renderRow(row, text)).toBe(PACKED);
  });

  it('says if the copy sees the original', () => {
    expect(renderRow(rowOf('concatenated'), text)).toBe(CONCATENATED);
  });

  it('wraps lines at the width and keeps all tokens', () => {
    fc.assert(
      fc.property(fc.integer({ min: 20, max: 120 }), (width) => {
        const row = rowOf('packed-isolated');
        const lines = renderRow(row, text, { width }).split('\n');
        const drawn = lines.filter((line) => /^(input|learns)/.test(line));
        expect(Math.max(...drawn.map((line) => line.length))).toBeLessThanOrEqual(width);
        const read = (label: string) =>
          drawn.filter((line) => line.startsWith(label)).flatMap((line) => line.slice(7).trim().split(/ +/));
        const shown = (id: number) => texts[id].replace(' ', '·').replace('\n', '↵');
        expect(read('input')).toEqual([...row.inputs].map(shown));
        expect(read('learns')).toEqual([...row.targets].filter((_, i) => row.lossMask[i]).map(shown));
      }),
    );
  });

  it('adds colour without changing the text', () => {
    const coloured = renderRow(rowOf('packed-isolated'), text, { color: true });
    expect(coloured).toContain('\u001b[7;36m[MASK]\u001b[0m');
    expect(coloured).toContain('\u001b[2m·Three\u001b[0m');
    expect(coloured).toContain('\u001b[32m</s>\u001b[0m');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape codes are what is removed
    expect(coloured.replace(/\u001b\[[\d;]*m/g, '')).toBe(PACKED);
  });

  it('lets no control character of the text reach the terminal', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 0x10ffff }), { maxLength: 8 }), (points) => {
        const hostile = String.fromCodePoint(...points);
        const drawn = renderRow(rowOf('packed-isolated'), () => hostile).replaceAll('\n', '');
        expect(drawn).not.toMatch(/\p{C}/u);
      }),
      { numRuns: 20 },
    );
  });

  it('returns nothing for padding only', () => {
    expect(renderRow(joinRows([], { length: 3 }), text)).toBe('');
  });
});

const COPY = [
  'input  <s> ·Three ·colours ? ·red [MASK] [MASK] ↵ blue',
  'learns                       ,    ·green',
];
const PACKED = [
  'original: 9 positions, 6 learned',
  'input  <s> ·Three ·colours ?    ·red ,      ·green ↵    blue',
  'learns                     ·red ,    ·green ↵      blue </s>',
  '',
  'masked copy: 9 positions, 2 learned',
  ...COPY,
].join('\n');
const CONCATENATED = [
  'original: 10 positions, 6 learned',
  'input  <s> ·Three ·colours ?    ·red ,      ·green ↵    blue </s>',
  'learns                     ·red ,    ·green ↵      blue </s>',
  '',
  'masked copy, which sees the original: 9 positions, 2 learned',
  ...COPY,
].join('\n');
