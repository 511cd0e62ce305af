import { Mutex } from "../../src/concurrency/mutex.ts";
import type { Session } from "../../src/concurrency/session.ts";
import { sleep } from "../../src/waiting.ts";
import { SessionProgram } from "./session-program.ts";

/** Two tasks that share a session, each of which locks, works and unlocks. The mutex's keys are an election's. */
export class MutexProgram extends SessionProgram {
  protected async use(session: Session): Promise<void> {
    await Promise.all([this.#task(session), this.#task(session)]);
  }

  async #task(session: Session): Promise<void> {
    const mutex = new Mutex(session, this.simulation.scenario.election);
    while (!session.signal.aborted) await this.#turn(session, mutex);
  }

  async #turn(session: Session, mutex: Mutex): Promise<void> {
    const { clock, random } = this.host;
    const patience = this.patience(session);
    try {
      // Whoever only tries does not stand in line, as all shall in the end.
      const tries = this.simulation.now < this.simulation.scenario.quietAt - 3_000 && random.chance(0.3);
      const held = await (tries ? mutex.tryLock(patience) : mutex.lock(patience));
      patience.forget();
      await this.hold(held);
      if (this.term === held) this.term = undefined;
      await mutex.unlock();
    } catch {
      await sleep(clock, random.between(10, 300), session.signal).catch(() => {});
    } finally {
      patience.forget();
    }
  }
}
