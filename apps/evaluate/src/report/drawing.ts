/** Drawings by Observable Plot, on a document that needs no browser. */
import { plainText } from '@meap/recipe-cli';
import { type PlotOptions, plot } from '@observablehq/plot';
import { DOMParser } from 'linkedom';

/** Height of an SVG's letters, in pixels. */
const FONT_SIZE = 12;

/** Of a mean letter in the wider of the fonts that browsers have. */
const CHARACTER_WIDTH = 0.7 * FONT_SIZE;

/**
 * Draws to an SVG, which takes the colour of its letters and all variables from the page that it is put into.
 *
 * The document is one of XML: what it writes is read by every program that reads SVG files, and by HTML pages too.
 */
export function drawing(options: PlotOptions): string {
  const document = new DOMParser().parseFromString('<svg/>', 'image/svg+xml');
  const svg = plot({
    color: { type: 'identity' },
    ...options,
    document: document as unknown as PlotOptions['document'],
  });
  svg.setAttribute('font-size', String(FONT_SIZE));
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  return plainText(String(svg));
}

/** About how wide a text is, in pixels: enough to leave room for it. */
export function textWidth(text: string): number {
  return Math.ceil([...text].length * CHARACTER_WIDTH);
}

/** A text that needs no more than so many pixels: the middle gives way, for names begin and end with what differs. */
export function shortened(text: string, pixels: number): string {
  const length = Math.max(3, Math.floor(pixels / CHARACTER_WIDTH));
  const characters = [...text];
  if (characters.length <= length) return text;
  const end = Math.floor((length - 1) / 2);
  return `${characters.slice(0, length - 1 - end).join('')}…${characters.slice(-end).join('')}`;
}
