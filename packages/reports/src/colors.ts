/**
 * The colours of reports, as CSS variables with values for light and dark pages.
 *
 * Models have the hues of Okabe and Ito, which are distinguishable with colour blindness, adjusted for sufficient contrast
 * as text. Heat maps use ColorBrewer's YlGnBu, reversed on dark pages, so that higher values contrast more with the page.
 */
import { scale } from '@observablehq/plot';

interface Pair {
  readonly light: string;
  readonly dark: string;
}

/** Maximum number of models in a report. */
export const MAX_MODELS = 6;

/** Colours of a heat map, in steps of 0.1. */
const HEAT_STEPS = 11;

const INK = { light: '#1b2230', dark: '#e6eaf2' };
const PAPER = { light: '#ffffff', dark: '#12151c' };

/** The variables by name. */
export const COLORS: Readonly<Record<string, Pair>> = {
  ink: INK,
  paper: PAPER,
  muted: { light: '#586074', dark: '#a2abbd' },
  faint: { light: '#dfe3ea', dark: '#313846' },
  'model-1': { light: '#0068a8', dark: '#62b4f5' },
  'model-2': { light: '#bd4b00', dark: '#ff9d5c' },
  'model-3': { light: '#007a58', dark: '#45cf9f' },
  'model-4': { light: '#a04a86', dark: '#ea9fd3' },
  'model-5': { light: '#7a6200', dark: '#e0c648' },
  'model-6': { light: '#4b4fb5', dark: '#a9acff' },
  ...heatColors(),
};

/** Returns the colour of a model by its place on the page, as a CSS variable. */
export function modelColor(index: number): string {
  return `var(--model-${index + 1})`;
}

/** Returns the colours of a heat map cell and its text for a value between 0 and 1. */
export function heatColor(share: number): { readonly fill: string; readonly ink: string } {
  const step = Math.round(Math.min(1, Math.max(0, share)) * (HEAT_STEPS - 1));
  return { fill: `var(--heat-${step})`, ink: `var(--heat-ink-${step})` };
}

export function cssVariables(theme: 'light' | 'dark'): string {
  return Object.entries(COLORS)
    .map(([name, pair]) => `--${name}: ${pair[theme]};`)
    .join(' ');
}

/** Makes a drawing readable by itself, on pages of any colour: light colours on white. */
export function withLightColors(svg: string): string {
  return svg
    .replace(/<svg[^>]*>/, (start) => `${start}<rect width="100%" height="100%" fill="${PAPER.light}"/>`)
    .replaceAll(/var\(--([\w-]+)\)/g, (variable, name) => COLORS[name]?.light ?? variable)
    .replaceAll('currentColor', INK.light);
}

function heatColors(): Record<string, Pair> {
  const { apply } = scale({ color: { type: 'linear', scheme: 'YlGnBu', domain: [0, 1] } })!;
  return Object.fromEntries(
    Array.from({ length: HEAT_STEPS }, (_, step) => step / (HEAT_STEPS - 1)).flatMap((share, step) => {
      // Avoids very light cells on dark pages.
      const [light, dark] = [0.93 * share, 1 - 0.75 * share].map((position) => hex(apply(position)));
      return [
        [`heat-${step}`, { light, dark }],
        [`heat-ink-${step}`, { light: readableOn(light), dark: readableOn(dark) }],
      ];
    }),
  );
}

/** Converts `rgb(1, 2, 3)` to `#010203`. */
function hex(rgb: string): string {
  return `#${rgb
    .match(/\d+/g)!
    .map((channel) => Number(channel).toString(16).padStart(2, '0'))
    .join('')}`;
}

function readableOn(color: string): string {
  const [onWhite, onBlack] = ['#ffffff', '#0b0e14'].map((ink) => contrast(color, ink));
  return onWhite > onBlack ? '#ffffff' : '#0b0e14';
}

/** Returns the WCAG 2 contrast of two colours, 1 to 21. */
export function contrast(a: string, b: string): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

function luminance(color: string): number {
  const [red, green, blue] = color.match(/[\da-f]{2}/g)!.map((channel) => {
    const value = Number.parseInt(channel, 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
