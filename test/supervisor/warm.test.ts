import { expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import type { Term } from "../../src/concurrency/term.ts";
import type { Supervision } from "../../src/supervisor/supervision.ts";
import { superviseWarm } from "../../src/supervisor/warm.ts";
import { gate, watched } from "../member/world.ts";

/** A supervision in which one warm program leads; what of it can be killed is gone when the test says so. */
class FakeSupervision {
  readonly crash = gate();
  readonly allGone = gate();
  readonly #leaving = new AbortController();
  readonly #left = gate();
  readonly clock = systemClock;
  readonly leaving = this.#leaving.signal;
  readonly left = this.#left.opened;
  readonly leaveTimeoutMs = 1_000;
  readonly options = { signals: { lead: "SIGUSR1", standby: "SIGUSR2" }, onLoss: "kill", on: () => {} };
  #crashed = false;
  /** Resolves when the lead is over, whereupon the key goes. */
  led: Promise<void> | undefined;
  said: string[] = [];

  launch(): object {
    const exit = { code: 137, signal: "SIGKILL" };
    const supervision = this;
    return {
      get ended() {
        return supervision.#crashed;
      },
      exit,
      exited: this.crash.opened.then(() => {
        this.#crashed = true;
        return exit;
      }),
      kill: () => this.allGone.opened.then(() => exit),
      signal: (name: string) => this.said.push(name),
    };
  }

  watch(): object {
    const never = new Promise(() => {});
    const until = (at: string): Promise<unknown> => (at === "well" ? Promise.resolve() : never);
    return { state: { at: "well" }, until, stop: () => {} };
  }

  async join(lead: (term: Term) => Promise<void>): Promise<object> {
    this.led = lead({ token: 7n } as Term);
    return { leave: async () => {} };
  }

  leash(): object {
    return { stop: () => {} };
  }

  async begin(): Promise<object> {
    const [over, say] = [new Promise(() => {}), (word: string) => () => void this.said.push(word)];
    return { over, isOver: false, told: say("told"), end: say("end"), settle: async () => say("settle")() };
  }

  judge(): void {
    this.said.push("judge");
    this.#leaving.abort();
    this.#left.open();
  }
}

test("a warm program that crashes gives up its lead when nothing is left of it, and no earlier", async () => {
  const fake = new FakeSupervision();
  const done = superviseWarm(fake as unknown as Supervision);
  await expect.poll(() => fake.said).toEqual(["SIGUSR1", "told"]);
  fake.crash.open();
  await expect.poll(() => fake.said).toEqual(["SIGUSR1", "told", "end"]);
  const led = watched(fake.led as Promise<void>);
  // Whatever could happen without the kernel's word has happened.
  await new Promise((resolve) => setImmediate(resolve));
  expect([led.state, fake.said.at(-1)]).toEqual(["pending", "end"]);
  fake.allGone.open();
  await done;
  expect([led.state, ...fake.said.slice(3)]).toEqual(["resolved", "settle", "judge"]);
});
