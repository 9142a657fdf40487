/** Draws with Observable Plot without a browser. */
import { plainText } from '@meap/recipe-cli';
import { type PlotOptions, plot } from '@observablehq/plot';
import { DOMParser } from 'linkedom';

/** Font size in pixels. */
const FONT_SIZE = 12;

/** Mean width of a character in a wide font. */
const CHARACTER_WIDTH = 0.7 * FONT_SIZE;

/**
 * Draws an SVG that inherits its text colour and CSS variables from the page; valid as XML and within HTML.
 *
 * @param options `PlotOptions` of Observable Plot, whose declarations need those of D3, which a user may not have
 */
export function drawing(options: object): string {
  const document = new DOMParser().parseFromString('<svg/>', 'image/svg+xml');
  const svg = plot({
    color: { type: 'identity' },
    ...(options as PlotOptions),
    document: document as unknown as PlotOptions['document'],
  });
  svg.setAttribute('font-size', String(FONT_SIZE));
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  return plainText(String(svg));
}

/** Returns an upper estimate of the width of a text in pixels. */
export function textWidth(text: string): number {
  return Math.ceil([...text].length * CHARACTER_WIDTH);
}

/** Shortens a text to a width in pixels by omitting its middle, since names differ at their ends. */
export function shortened(text: string, pixels: number): string {
  const length = Math.max(3, Math.floor(pixels / CHARACTER_WIDTH));
  const characters = [...text];
  if (characters.length <= length) return text;
  const end = Math.floor((length - 1) / 2);
  return `${characters.slice(0, length - 1 - end).join('')}…${characters.slice(-end).join('')}`;
}
