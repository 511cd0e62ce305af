interface Item {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

/** What is still to happen, in the order of global time, which is etcd's and nobody else's. */
export class Agenda {
  now = 0;
  #order = 0;
  readonly #heap: Item[] = [];

  /** Runs `run` at `instant`, or as soon as may be if that has passed; the result takes it out again. */
  at(instant: number, run: () => void): () => void {
    const item: Item = { at: Math.max(instant, this.now), order: this.#order++, run, cancelled: false };
    this.#push(item);
    return () => {
      item.cancelled = true;
    };
  }

  /** What comes next, up to `end`; time has then moved there. */
  next(end: number): (() => void) | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || first.at > end) {
        this.now = Math.max(this.now, end);
        return undefined;
      }
      this.#pop();
      if (first.cancelled) continue;
      this.now = first.at;
      return first.run;
    }
  }

  #push(item: Item): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(item);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      const above = heap[parent] as Item;
      if (!before(item, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = item;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Item;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      if (right !== undefined && before(right, heap[child] as Item)) child++;
      const below = heap[child] as Item;
      if (!before(below, last)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
  }
}

function before(a: Item, b: Item): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
