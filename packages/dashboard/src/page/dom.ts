/** Elements from text that is never read as HTML. */

/** A property, an attribute (`aria-…`, `data-…`, `role`) or a listener (`onclick`). */
type Properties = Record<string, unknown>;

/** An element with properties and children; strings become text. */
export function el<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  properties: Properties = {},
  ...children: (Node | string | null | undefined | false)[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes('-') || name === 'role' || name === 'for' || name === 'colspan') {
      element.setAttribute(name, String(value));
    } else Reflect.set(element, name, value);
  }
  element.append(
    ...children.filter(
      (child): child is Node | string => child !== null && child !== undefined && child !== false,
    ),
  );
  return element;
}

/** The element with an id, which the page has. */
export function byId(id: string): HTMLElement {
  return document.getElementById(id)!;
}

/** Replaces what `parent` holds only where the text differs, so that what is selected or focused stays. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
