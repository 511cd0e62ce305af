import type { Term } from "../concurrency/term.ts";
import { aborted, type Supervision } from "./supervision.ts";

/**
 * The program runs while this member leads. When it dies its lead is over at once, for nothing is left to be waited for;
 * when the lead is over it is stopped, before anybody else can lead.
 */
export async function superviseCold(supervision: Supervision): Promise<void> {
  const { leaving, left, leaveTimeoutMs } = supervision;
  const member = await supervision.join((term) => lead(supervision, term), leaving);
  await left;
  await member?.leave({ timeoutMs: leaveTimeoutMs });
}

/** One term. Resolves when nothing of the program is left: the key goes then, and no earlier. */
async function lead(supervision: Supervision, term: Term): Promise<void> {
  const leash = supervision.leash(term);
  // Too late to begin anything.
  if (leash.killAt <= supervision.clock.now() || term.signal.aborted) return;
  supervision.options.on({ on: "leads", token: term.token });
  const program = supervision.launch(term, leash.killAt);
  const health = supervision.watch(program);
  await Promise.race([program.exited, aborted(term.signal), health.until("ill")]);
  health.stop();
  leash.stop();
  if (term.remainingMs <= 0) {
    // Whether or not it has ended by now, that is no failure of its own: the shim may have killed it.
    await supervision.stopInTime(program, term, leash.killAt);
  } else if (program.ended) {
    supervision.judge(await program.kill());
  } else if (health.state.at === "ill") {
    const { cause, why } = health.state;
    supervision.judge(await supervision.kill(program, cause, why));
  }
}
