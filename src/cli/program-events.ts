import type { MemberChange } from "../member/member.ts";
import { describeExit } from "../supervisor/exit.ts";
import type { SupervisorEvent } from "../supervisor/supervisor.ts";
import { eventNames } from "./election-events.ts";
import { type Output, printable } from "./output.ts";

/** Tells on standard error, which is shared with the program, what happens to it. */
export class ProgramTeller {
  readonly #output: Output;
  readonly #asJson: boolean;
  readonly #about: { readonly election: string; readonly id: string };
  #before: MemberChange | undefined;

  constructor(output: Output, asJson: boolean, about: { readonly election: string; readonly id: string }) {
    this.#output = output;
    this.#asJson = asJson;
    this.#about = about;
  }

  /** What a supervisor reports. */
  tell(event: SupervisorEvent): void {
    if (event.on === "member") this.#changed(event.change);
    else if (event.on === "leads") this.#leads(event.token);
    else this.say(event.on, describe(event, this.#about), event);
  }

  /** Any other message. */
  say(event: string, message: string, fields: object = {}): void {
    if (this.#asJson) {
      const { on: _on, ...rest } = fields as { on?: string };
      const time = new Date().toISOString();
      const line = { event, ...this.#about, ...rest, message, time };
      this.#output.say(
        JSON.stringify(line, (_key, each) => (typeof each === "bigint" ? Number(each) : each)),
      );
    } else {
      this.#output.say(`succession run: ${printable(message)}`);
    }
  }

  #leads(token: bigint): void {
    this.say("leader", `leads with token ${token}`, { leader: this.#about.id, token, cause: null });
  }

  #changed(told: MemberChange): void {
    // A key of our own on which nobody leads yet; and of another one of the same name there was a message.
    const ours = told.phase === "outside" && told.leader?.id === this.#about.id;
    const change = ours ? { ...told, leader: undefined } : told;
    const { leader, position, cause } = change;
    const led = this.#before?.role === "leader";
    for (const name of eventNames(this.#before, change)) {
      const fields = { leader: leader?.id ?? null, token: leader?.token ?? null, cause: cause ?? null };
      switch (name) {
        case "standby":
          if (led) this.say("standby", `leads no more: ${cause}`, fields);
          else if (cause === "resigned") this.say("standby", "left the line", fields);
          else if (cause !== undefined) this.say("standby", `lost its place in line: ${cause}`, fields);
          else
            this.say("standby", `stands by, number ${(position ?? 0) + 1} in line${behind(change)}`, fields);
          break;
        case "observed":
          // One that has left is told nothing more, which does not mean that nobody leads.
          if (leader === undefined && (ours || cause === "resigned")) break;
          this.say(
            "observed",
            leader === undefined ? "nobody is known to lead" : `${leader.id} leads`,
            fields,
          );
          break;
        default:
        // Leading was told when it began.
      }
    }
    this.#before = change;
  }
}

function behind({ leader }: MemberChange): string {
  return leader === undefined ? "" : `; ${leader.id} leads`;
}

function describe(
  event: Exclude<SupervisorEvent, { on: "member" | "leads" }>,
  { election, id }: { readonly election: string; readonly id: string },
): string {
  switch (event.on) {
    case "contained":
      return `contains the program by ${event.by}${event.refused.map((why) => ` (no ${why})`).join("")}`;
    case "namesake":
      return event.refused
        ? `${id} stands in ${election} already, as ${event.key}`
        : `waits for the lease of another ${id} to end (${event.key})`;
    case "started":
      return `started the program, process ${event.pid ?? "none"}`;
    case "told":
      return `told the program by ${event.signal} that it ${event.token === undefined ? "stands by" : "leads"}`;
    case "stopping":
      return `stops the program within ${Math.round(event.withinMs)} ms: ${event.cause}`;
    case "killing":
      return `kills the program: ${event.cause}, ${event.why}`;
    case "ended":
      return `the program ${describeExit(event.exit)}`;
    case "unwell":
      return `leaves the line until the program is well: ${event.cause}, ${event.why}`;
    case "well":
      return "the program is well again";
    case "api":
      return `answers at ${event.address}`;
    case "step-down":
      return event.refused === undefined
        ? "gave up the lead, as it was asked to"
        : `was asked to give up the lead, and did not: ${event.refused}`;
    case "role-file":
      return `the role file does not say the present role: ${event.why}`;
    case "hook":
      return `--${event.hook} ${event.why}`;
    case "restart":
      return `starts again after a pause; failure ${event.failures} lately`;
    case "gave-up":
      return `gives up after ${event.failures} failures within ${event.windowMs / 1_000} s: stands down`;
    case "shim-lost":
      return "the process that kills the program in an emergency died; starting another";
  }
}
