/**
 * Something that the browser keeps. One that is told to keep nothing throws at the very name of its storage; the page then
 * knows it until it is closed.
 */
export class Kept {
  readonly #storage: () => Storage;
  readonly #name: string;
  #value: string | undefined;

  constructor(storage: () => Storage, name: string) {
    this.#storage = storage;
    this.#name = name;
    this.#try((kept) => {
      this.#value = kept.getItem(name) ?? undefined;
    });
  }

  get value(): string | undefined {
    return this.#value;
  }

  set value(value: string | undefined) {
    this.#value = value;
    this.#try((kept) => {
      if (value === undefined) kept.removeItem(this.#name);
      else kept.setItem(this.#name, value);
    });
  }

  #try(task: (storage: Storage) => void): void {
    try {
      task(this.#storage());
    } catch {
      // It is not kept, then.
    }
  }
}
