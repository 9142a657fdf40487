import { expect, it } from 'vitest';
import { COLORS, contrast, heatColor, withLightColors } from './colors.ts';

it('have sufficient contrast for text in both themes', () => {
  expect(contrast('#000000', '#ffffff')).toBeCloseTo(21);
  for (const theme of ['light', 'dark'] as const) {
    const text = Object.keys(COLORS).filter((name) => /^(ink|muted|model)/.test(name));
    for (const name of text) {
      expect(contrast(COLORS[name][theme], COLORS.paper[theme]), `${name}, ${theme}`).toBeGreaterThan(4.5);
    }
    for (let step = 0; step <= 10; step++) {
      const { fill, ink } = heatColor(step / 10);
      const [cell, letters] = [fill, ink].map((variable) => COLORS[variable.slice(6, -1)][theme]);
      expect(contrast(cell, letters), `heat ${step}, ${theme}`).toBeGreaterThan(4.5);
    }
  }
});

it('give higher values of heat maps more contrast with the page', () => {
  for (const theme of ['light', 'dark'] as const) {
    const away = Array.from({ length: 11 }, (_, step) =>
      contrast(COLORS[`heat-${step}`][theme], COLORS.paper[theme]),
    );
    const sorted = away.toSorted((a, b) => a - b);
    // The first cell of dark pages is slightly darker than the page.
    expect(away.slice(1)).toEqual(sorted.filter((value) => away.slice(1).includes(value)));
  }
});

it('of a drawing by itself are light, on white', () => {
  expect(withLightColors('<svg width="9"><a fill="var(--model-1)" stroke="currentColor"/></svg>')).toBe(
    '<svg width="9"><rect width="100%" height="100%" fill="#ffffff"/><a fill="#0068a8" stroke="#1b2230"/></svg>',
  );
});
