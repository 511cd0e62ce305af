import { rename, rm, writeFile } from "node:fs/promises";
import type { CancelTimer, Clock } from "../clock.ts";

/** Nobody who leads, or is to stop, waits longer for a disk. */
const patienceMs = 500;
/** At the start nobody waits for this member, and on a busy machine a first write takes its time. */
const startPatienceMs = 10_000;
const retryMs = 1_000;

/**
 * A file that says the present role, replaced as a whole: a reader finds the old text or the new one. What cannot be
 * written is tried again, in the background, until something newer takes its place.
 */
export class RoleFile {
  readonly #clock: Clock;
  readonly #path: string;
  #onTrouble: (why: string) => void = () => {};
  #wanted = "";
  #written: string | undefined;
  #last: Promise<void> = Promise.resolve();
  #inTrouble = false;
  #closed = false;
  #cancelRetry: CancelTimer = () => {};

  private constructor(clock: Clock, path: string) {
    this.#clock = clock;
    this.#path = path;
  }

  /** Writes the first text; rejects where that cannot be done. `onTrouble` is told of later trouble, once each time. */
  static async open(
    clock: Clock,
    path: string,
    text: string,
    onTrouble: (why: string) => void,
  ): Promise<RoleFile> {
    const file = new RoleFile(clock, path);
    let refusal: string | undefined;
    file.#onTrouble = (why) => {
      refusal = why;
    };
    await file.put(text, startPatienceMs);
    file.#onTrouble = onTrouble;
    if (refusal === undefined) return file;
    file.close();
    throw new Error(`cannot write the role file ${path}: ${refusal}`);
  }

  /** Resolves when it is written, or was tried in vain, or after so many milliseconds. Never rejects. */
  async put(text: string, withinMs: number = patienceMs): Promise<void> {
    this.#wanted = text;
    const tried = this.#try();
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.at(this.#clock.now() + withinMs, () => {
        this.#trouble(`the disk has not answered within ${withinMs} ms`);
        resolve();
      });
      void tried.then(() => {
        cancel();
        resolve();
      });
    });
  }

  /** Tries no more; what is being written still is. */
  close(): void {
    this.#closed = true;
    this.#cancelRetry();
  }

  /** One try after the other, each with the newest text. */
  #try(): Promise<void> {
    this.#last = this.#last.then(async () => {
      const text = this.#wanted;
      if (text === this.#written) return;
      this.#cancelRetry();
      try {
        await replaceFile(this.#path, text);
        this.#written = text;
        this.#inTrouble = false;
      } catch (error) {
        this.#trouble(error instanceof Error ? error.message : String(error));
        if (this.#closed) return;
        this.#cancelRetry = this.#clock.at(this.#clock.now() + retryMs, () => void this.#try());
      }
    });
    return this.#last;
  }

  #trouble(why: string): void {
    if (this.#inTrouble) return;
    this.#inTrouble = true;
    this.#onTrouble(why);
  }
}

/** No reader ever sees half of it; and what somebody else has laid there under the temporary name is not followed. */
async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await rm(temporary, { force: true });
    await writeFile(temporary, text, { flag: "wx" });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}
