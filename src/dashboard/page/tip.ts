import { element } from "./element.ts";

/** What is told about the thing under the pointer or the focus, in a box beside it. */
export class Tip {
  readonly node: HTMLElement = element("div", { class: "tip", role: "tooltip", hidden: "" });
  #of: Element | undefined;

  /** `lines` are told about `target`, which stands in the same positioned box as the tip. */
  show(target: Element, lines: readonly string[]): void {
    this.#of = target;
    const [title = "", ...rest] = lines;
    this.node.replaceChildren(element("strong", {}, title), ...rest.map((line) => element("span", {}, line)));
    this.node.hidden = false;
    const box = this.node.offsetParent?.getBoundingClientRect();
    if (box === undefined) return;
    const at = target.getBoundingClientRect();
    const middle = Math.min(Math.max(at.left, box.left), box.right) / 2 + Math.min(at.right, box.right) / 2;
    const most = box.width - this.node.offsetWidth;
    const left = Math.max(0, Math.min(most, middle - box.left - this.node.offsetWidth / 2));
    this.node.style.left = `${Math.round(left)}px`;
    this.node.style.top = `${Math.round(at.bottom - box.top + 6)}px`;
  }

  /** Takes away what is told about `target`, or about anything. */
  hide(target?: Element): void {
    if (target !== undefined && target !== this.#of) return;
    this.#of = undefined;
    this.node.hidden = true;
  }
}
