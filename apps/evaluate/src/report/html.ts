/** Markup in which every text from outside is escaped, because escaping is what happens by default. */
import { escapeHtml, plainText } from '@meap/recipe-cli';

/** Markup that is safe to put into a page: only {@link html} and {@link trusted} make it. */
export class Html {
  readonly markup: string;

  constructor(markup: string) {
    this.markup = markup;
  }
}

/** What may stand in a template: texts and numbers are escaped, markup stays, nothing is made of `undefined`. */
export type HtmlValue = string | number | undefined | Html | readonly HtmlValue[];

/** A template of markup: `html`<b>${name}</b>``; what stands in it is escaped. Attributes take double quotes. */
export function html(markup: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return new Html(String.raw({ raw: markup }, ...values.map(toMarkup)));
}

/** Markup that this program made by other means, such as a drawing. */
export function trusted(markup: string): Html {
  return new Html(markup);
}

function toMarkup(value: HtmlValue): string {
  if (value === undefined) return '';
  if (value instanceof Html) return value.markup;
  if (typeof value === 'object') return value.map(toMarkup).join('');
  return escapeHtml(plainText(String(value)));
}
