import type { Term } from "../concurrency/term.ts";
import type { Exit } from "./exit.ts";
import type { Supervision } from "./supervision.ts";

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
  const lead = await supervision.begin(term, leash);
  if (lead === undefined) return;
  const program = supervision.launch(term, leash.killAt);
  const health = supervision.watch(program);
  lead.told(program);
  await Promise.race([program.exited, lead.over, health.until("ill")]);
  health.stop();
  leash.stop();
  const over = lead.isOver;
  lead.end(program.exit, health.state);
  let exit: Exit | undefined;
  if (over) {
    // Whether or not it has ended by now, that is no failure of its own: the shim may have killed it.
    await supervision.stopInTime(program, lead.cause, leash.killAt);
  } else if (program.ended) {
    exit = await program.kill();
  } else if (health.state.at === "ill") {
    const { cause, why } = health.state;
    exit = await supervision.kill(program, cause, why);
  }
  await lead.settle();
  if (exit !== undefined) supervision.judge(exit);
}
