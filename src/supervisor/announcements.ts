import type { Clock } from "../clock.ts";
import type { Cause } from "../errors.ts";
import { Hook, type HookLines } from "./hook.ts";
import type { SupervisorEvent } from "./options.ts";
import type { Program } from "./program.ts";
import { ProgramRole, type RoleState } from "./role.ts";
import { RoleFile } from "./role-file.ts";

export interface AnnouncementsOptions {
  readonly election: string;
  readonly id: string;
  readonly roleFile: string | undefined;
  readonly hooks: HookLines;
  readonly env: NodeJS.ProcessEnv;
  readonly on: (event: SupervisorEvent) => void;
}

/** How others than the program's own process learn its role: the role itself, a file, hooks. */
export class Announcements {
  readonly role: ProgramRole;
  readonly #clock: Clock;
  readonly #options: AnnouncementsOptions;
  readonly #file: RoleFile | undefined;
  #filed: Promise<void> = Promise.resolve();

  /** Writes the role file for the first time; rejects where that cannot be done. */
  static async open(clock: Clock, options: AnnouncementsOptions): Promise<Announcements> {
    const { roleFile, on } = options;
    const role = new ProgramRole(options);
    const troubled = (why: string): void => on({ on: "role-file", why });
    const file =
      roleFile === undefined
        ? undefined
        : await RoleFile.open(clock, roleFile, lineOf(clock, role.now), troubled);
    return new Announcements(clock, options, role, file);
  }

  private constructor(
    clock: Clock,
    options: AnnouncementsOptions,
    role: ProgramRole,
    file: RoleFile | undefined,
  ) {
    this.role = role;
    this.#clock = clock;
    this.#options = options;
    this.#file = file;
    role.subscribe((state) => {
      this.#filed = file?.put(lineOf(clock, state)) ?? Promise.resolve();
    });
  }

  /** Resolves when the file says the newest role, or cannot be written, within half a second. */
  get filed(): Promise<void> {
    return this.#filed;
  }

  /** Starts the hook of a leader, which is found and killed with the program. */
  startOnLead(program: Program, token: bigint): Hook | undefined {
    const { onLead, onLeadMs } = this.#options.hooks;
    if (onLead === undefined || program.ended) return undefined;
    const { command, env } = program.alongside(shell(onLead), this.#env(token, undefined));
    return this.#start("on-lead", command, env, onLeadMs);
  }

  /** Runs the hook of a standby to its end, which comes in its time. */
  async runOnStandby(token: bigint | undefined, cause: Cause | undefined): Promise<void> {
    const { onStandby, onStandbyMs } = this.#options.hooks;
    if (onStandby === undefined) return;
    await this.#start("on-standby", shell(onStandby), this.#env(token, cause), onStandbyMs).ended;
  }

  /** The last word of the file stays. */
  async close(): Promise<void> {
    this.role.tell();
    await this.filed;
    this.#file?.close();
  }

  #start(
    name: "on-lead" | "on-standby",
    command: readonly string[],
    env: NodeJS.ProcessEnv,
    timeoutMs: number,
  ): Hook {
    const hook = new Hook({ clock: this.#clock, command, env, timeoutMs });
    void hook.ended.then((why) => {
      if (why !== undefined) this.#options.on({ on: "hook", hook: name, why });
    });
    return hook;
  }

  #env(token: bigint | undefined, cause: Cause | undefined): NodeJS.ProcessEnv {
    const { election, id, leader, role } = this.role.now;
    return {
      ...this.#options.env,
      SUCCESSION_ROLE: role,
      SUCCESSION_ELECTION: election,
      SUCCESSION_ID: id,
      SUCCESSION_TOKEN: token === undefined ? "" : String(token),
      SUCCESSION_LEADER: leader ?? "",
      SUCCESSION_CAUSE: cause ?? "",
    };
  }
}

const shell = (line: string): readonly string[] => ["/bin/sh", "-c", line];

/** What stands in the role file: one line, for those who read lines. */
function lineOf(clock: Clock, state: RoleState): string {
  return `${JSON.stringify({ ...state, time: clock.date().toISOString() })}\n`;
}
