/** HTML templates that escape every inserted text. */
import { plainText } from '@meap/dashboard';

/** Markup that is safe to insert into a page; only {@link html} and {@link trusted} create it. */
export class Html {
  readonly markup: string;

  constructor(markup: string) {
    this.markup = markup;
  }
}

/** A value for a template: text and numbers are escaped, markup is inserted as it is, `undefined` becomes nothing. */
export type HtmlValue = string | number | undefined | Html | readonly HtmlValue[];

/** A template tag: `html`<b>${name}</b>`` escapes `name`. Attributes take double quotes. */
export function html(markup: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return new Html(String.raw({ raw: markup }, ...values.map(toMarkup)));
}

/** Marks a string as safe, such as a drawing or a style sheet of this program. */
export function trusted(markup: string): Html {
  return new Html(markup);
}

function toMarkup(value: HtmlValue): string {
  if (value === undefined) return '';
  if (value instanceof Html) return value.markup;
  if (typeof value === 'object') return value.map(toMarkup).join('');
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return plainText(String(value)).replace(/[&<>"]/g, (character) => entities[character]);
}
