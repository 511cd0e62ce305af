import { Election } from "../../src/concurrency/election.ts";
import type { Session } from "../../src/concurrency/session.ts";
import { sleep } from "../../src/waiting.ts";
import { SessionProgram } from "./session-program.ts";

/** Campaigns, proclaims, resigns and campaigns again on one session. */
export class CampaignProgram extends SessionProgram {
  protected async use(session: Session): Promise<void> {
    const election = new Election(session, this.simulation.scenario.election);
    while (!session.signal.aborted) await this.#campaign(session, election);
  }

  async #campaign(session: Session, election: Election): Promise<void> {
    const { clock, random } = this.host;
    const patience = this.patience(session);
    try {
      const term = await election.campaign(this.id, { signal: patience.signal });
      patience.forget();
      if (random.chance(0.3)) election.proclaim(`${this.id}+`).catch(() => {});
      await this.hold(term);
      await election.resign();
    } catch {
      await sleep(clock, random.between(10, 300), session.signal).catch(() => {});
    } finally {
      patience.forget();
      this.term = undefined;
    }
  }
}
