import { observe } from "./observe.ts";
import { Program } from "./program.ts";

/** A process that only looks on. */
export class ObserverProgram extends Program {
  readonly #leaving = new AbortController();

  start(): void {
    void observe(this, this.#leaving.signal);
  }

  leads(): undefined {
    return undefined;
  }

  override get standing(): boolean {
    return false;
  }

  leave(): void {
    this.leaving = true;
    this.#leaving.abort(new Error("leaving"));
    void this.etcd.close().then(() => {
      this.left = true;
    });
  }

  describe(): string {
    return "observing";
  }
}
