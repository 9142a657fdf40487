/** Drawings by Observable Plot, on a document that needs no browser. */
import { type PlotOptions, plot } from '@observablehq/plot';
import { DOMParser } from 'linkedom';

/** Height of an SVG's letters, in pixels. */
export const FONT_SIZE = 12;

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
  return String(svg);
}

/** About how wide a text is, in pixels: enough to leave room for it. */
export function textWidth(text: string): number {
  return Math.ceil(text.length * FONT_SIZE * 0.58);
}
