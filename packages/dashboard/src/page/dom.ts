/** Creates elements; text is never parsed as HTML. */

/** A property, an attribute (`aria-…`, `data-…`, `role`) or a listener (`onclick`). */
type Properties = Record<string, unknown>;

/** Creates an element; string children become text nodes. */
export function el<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  properties: Properties = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes('-') || name === 'role') {
      element.setAttribute(name, String(value));
    } else Reflect.set(element, name, value);
  }
  element.append(...children);
  return element;
}

/** Returns the element with an id, which must exist. */
export function byId(id: string): HTMLElement {
  return document.getElementById(id)!;
}

/** Sets the text if it differs, so that selection and focus stay. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
