import type { Term } from "../concurrency/term.ts";
import { backoffMs, sleep } from "../waiting.ts";
import type { Health } from "./health.ts";
import type { Leash } from "./leash.ts";
import type { Program } from "./program.ts";
import { aborted, type Supervision } from "./supervision.ts";

const firstPauseMs = 1_000;
const longestPauseMs = 30_000;
/** A key that etcd cannot take back yet is tried for so long in the background; then its lease ends it. */
const returnMs = 600_000;

/**
 * The program runs always, and is told its role. A member stands in line only while the program runs and is well: there
 * is a new one for each such spell.
 */
export async function superviseWarm(supervision: Supervision): Promise<void> {
  const { leaving, clock } = supervision;
  while (!leaving.aborted) {
    const run = new WarmRun(supervision);
    const replaced = await run.toItsEnd();
    if (leaving.aborted || replaced) continue;
    const failures = supervision.judge(await run.program.exited);
    if (failures === undefined) continue;
    await sleep(clock, backoffMs(clock, failures, firstPauseMs, longestPauseMs), leaving).catch(() => {});
  }
}

/** One run of a warm program, which may lead several times in it. */
class WarmRun {
  readonly program: Program;
  readonly #supervision: Supervision;
  readonly #health: Health;
  #lead: Promise<void> = Promise.resolve();
  /** It was stopped because its term was over: a fresh one takes its place at once. */
  #replaced = false;

  constructor(supervision: Supervision) {
    this.#supervision = supervision;
    this.program = supervision.launch(undefined, null);
    this.#health = supervision.watch(this.program);
  }

  /** Resolves when nothing of it is left, to whether it was stopped for its term. */
  async toItsEnd(): Promise<boolean> {
    const { program } = this;
    const supervision = this.#supervision;
    const { leaving } = supervision;
    for (let wasWell = false; !program.ended && !leaving.aborted; wasWell = true) {
      await Promise.race([
        this.#over(),
        this.#health.until("well"),
        wasWell ? never : this.#health.until("ill"),
      ]);
      if (program.ended || leaving.aborted) break;
      const { state } = this.#health;
      if (state.at === "ill" && !wasWell) {
        await supervision.kill(program, state.cause, state.why);
        break;
      }
      if (wasWell) supervision.options.on({ on: "well" });
      await this.#standInLine();
    }
    this.#health.stop();
    if (leaving.aborted && !program.ended) await supervision.stop(program, "resigned");
    else await program.kill();
    return this.#replaced;
  }

  /** A spell in which it is well. Resolves when it has ended, and does not lead any more. */
  async #standInLine(): Promise<void> {
    const { leaving, leaveTimeoutMs, options } = this.#supervision;
    const spell = new AbortController();
    void Promise.race([this.#over(), this.#health.until("ill")]).then(() => spell.abort());
    const member = await this.#supervision.join((term) => {
      this.#lead = this.#leadWith(term);
      return this.#lead;
    }, spell.signal);
    await aborted(spell.signal);
    // A lead that the program has ended ends with that as its cause, and not with the leaving.
    if (!leaving.aborted) await this.#lead;
    const { state } = this.#health;
    // As a leader it was killed.
    if (state.at === "ill" && !this.program.ended)
      options.on({ on: "unwell", cause: state.cause, why: state.why });
    const left = member?.leave({ timeoutMs: leaving.aborted ? leaveTimeoutMs : returnMs });
    await this.#lead;
    // Otherwise its key goes back in the background, for as long as that takes in an outage.
    if (leaving.aborted) await left;
  }

  /** One term. */
  async #leadWith(term: Term): Promise<void> {
    const { program } = this;
    const supervision = this.#supervision;
    const { signals, on, onLoss } = supervision.options;
    const leash = supervision.leash(term);
    const lead = program.ended ? undefined : await supervision.begin(term, leash);
    if (lead === undefined) return;
    program.signal(signals.lead);
    on({ on: "told", signal: signals.lead, token: term.token });
    lead.told(program);
    await Promise.race([program.exited, lead.over, this.#health.until("ill")]);
    leash.stop();
    const over = lead.isOver;
    const { state } = this.#health;
    lead.end(program.exit, state);
    if (state.at === "ill") {
      await supervision.kill(program, state.cause, state.why);
    } else if (program.ended) {
      // Nothing that it has started acts beside its successor.
      await program.kill();
    } else if (over && (onLoss === "kill" || supervision.leaving.aborted)) {
      this.#replaced = true;
      await supervision.stopInTime(program, lead.cause, leash.killAt);
    } else if (over) {
      await this.#standDown(leash);
    }
    await lead.settle();
  }

  /** It is told, and has the grace time to obey; nothing checks that it does. */
  async #standDown({ killAt }: Leash): Promise<void> {
    const { clock, options, announcements } = this.#supervision;
    const { signals, on } = options;
    this.#supervision.unleash();
    const latest = this.#supervision.stopBy(killAt);
    // Whoever looks into the file when he gets the signal finds what it means.
    await announcements.filed;
    this.program.signal(signals.standby);
    on({ on: "told", signal: signals.standby, token: undefined });
    await Promise.race([this.program.exited, sleep(clock, Math.max(0, latest - clock.now()))]);
  }

  async #over(): Promise<void> {
    await Promise.race([this.program.exited, this.#supervision.left]);
  }
}

const never: Promise<never> = new Promise(() => {});
