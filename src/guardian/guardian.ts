import { type CancelTimer, systemClock as clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { Charge } from "./charge.ts";
import { GuardianChild } from "./guardian-child.ts";
import { serviceBeatMs } from "./protocol.ts";
import { Silence } from "./silence.ts";

/** Silent for longer than this a guardian hangs, and another one takes its place; the first word may take its time. */
const hangAfterMs = 5_000;
const firstWordMs = 20_000;
/** Whoever joins waits so long for a guardian, and then stands without: it saves time, and safety does not rest on it. */
const readyWithinMs = 5_000;
/** A guardian that cannot stay alive must not become a fork bomb. */
const pauseMs = 1_000;

/**
 * The one guardian of this process, for all who engage it: started for the first one, started again when it dies or
 * hangs, ended with the last one.
 */
export class Guardian {
  static #engaged: Guardian | undefined;
  readonly #employers: Set<Logger> = new Set();
  readonly #charges: Map<string, Charge> = new Map();
  readonly #beats: NodeJS.Timeout;
  #silence = new Silence(clock.now());
  #child: GuardianChild | undefined;
  #closed = false;

  private constructor() {
    this.#beats = setInterval(() => this.#beat(), serviceBeatMs);
    this.#beats.unref();
    void this.#keep();
  }

  /** The guardian of this process, until `dismiss`. It logs to whoever engages it. */
  static engage(employer: Logger): Guardian {
    Guardian.#engaged ??= new Guardian();
    Guardian.#engaged.#employers.add(employer);
    return Guardian.#engaged;
  }

  /** Resolves when there is a guardian, or after a time without. Never rejects. */
  async ready(): Promise<void> {
    let cancel: CancelTimer = () => {};
    const late = new Promise<boolean>((resolve) => {
      cancel = clock.at(clock.now() + readyWithinMs, () => resolve(false));
    });
    const there = await Promise.race([late, this.#child?.ready.then(() => true) ?? false]);
    cancel();
    if (!there && !this.#closed) this.#warn({}, "no guardian yet: until there is one a crash costs the TTL");
  }

  /** Entrusts a lease, or says something new of it. */
  hold(charge: Charge): void {
    this.#charges.set(charge.leaseId, charge);
    this.#child?.tell({ do: "hold", charge });
  }

  /** The lease has been given back, or is to end by itself. */
  drop(leaseId: string): void {
    if (this.#charges.delete(leaseId)) this.#child?.tell({ do: "drop", leaseId });
  }

  /** The last one to leave ends it, and waits until it is gone. */
  async dismiss(employer: Logger): Promise<void> {
    this.#employers.delete(employer);
    if (this.#employers.size > 0 || this.#closed) return;
    this.#closed = true;
    if (Guardian.#engaged === this) Guardian.#engaged = undefined;
    clearInterval(this.#beats);
    await this.#child?.kill();
  }

  /** Sees to it that there is one. Never rejects. */
  async #keep(): Promise<void> {
    while (!this.#closed) {
      const why = await this.#oneLife();
      if (this.#closed) return;
      this.#warn({ why }, "the guardian has ended: until there is another a crash costs the TTL");
      await new Promise<void>((resolve) => {
        // The clock's own timers keep the process alive.
        setTimeout(resolve, pauseMs).unref();
      });
    }
  }

  /** Resolves, when it is over, to why. */
  async #oneLife(): Promise<string> {
    try {
      this.#silence = new Silence(clock.now());
      const child = new GuardianChild({
        heard: () => this.#silence.heard(),
        warning: (message, why) => this.#warn({ why }, message),
      });
      this.#child = child;
      for (const charge of this.#charges.values()) child.tell({ do: "hold", charge });
      await child.ended;
      return child.isReady ? "it died" : "it did not start";
    } catch (error) {
      return String(error);
    } finally {
      this.#child = undefined;
    }
  }

  #beat(): void {
    const child = this.#child;
    if (child === undefined) return;
    child.beat();
    this.#silence.look(clock.now());
    if (this.#silence.ms < (child.isReady ? hangAfterMs : firstWordMs)) return;
    this.#warn({ silentMs: Math.round(this.#silence.ms) }, "the guardian hangs: killing it");
    this.#silence.heard();
    void child.kill();
  }

  #warn(fields: object, message: string): void {
    for (const employer of this.#employers) employer.warn(fields, message);
  }
}
