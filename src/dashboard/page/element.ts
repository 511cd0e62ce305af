/** What stands in an element: text is text, whatever it looks like. */
export type Child = Node | string;

const svgNamespace = "http://www.w3.org/2000/svg";

/** An HTML element with attributes and content. Text comes in as text nodes: nothing from etcd is ever parsed as HTML. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** The same for SVG. */
export function shape<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string | number>> = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[K] {
  const made = document.createElementNS(svgNamespace, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** A button that says what it does. */
export function button(text: string, does: () => void, look = ""): HTMLButtonElement {
  const made = element("button", { type: "button", class: look }, text);
  made.addEventListener("click", does);
  return made;
}

/** Sets the text only where it differs: screen readers and selections are left alone. */
export function setText(node: Node, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}
