import { execFile } from "node:child_process";
import type { SupervisorEvent } from "../supervisor/supervisor.ts";

/**
 * Tells systemd what it wants to know of a `Type=notify` service, by its own `systemd-notify`: Node.js cannot write to
 * such a socket. Does nothing where systemd does not ask. The unit needs `NotifyAccess=all`.
 */
export class SystemdNotifier {
  /** What the program is started with: it is not the one that systemd asks. */
  readonly environment: NodeJS.ProcessEnv;
  readonly #asked: boolean;
  #ready = false;
  /** One after the other, or the older state may win. */
  #last: Promise<void> = Promise.resolve();

  constructor(env: NodeJS.ProcessEnv) {
    const { NOTIFY_SOCKET: socket, ...rest } = env;
    this.#asked = socket !== undefined && socket !== "";
    this.environment = this.#asked ? rest : env;
  }

  tell(event: SupervisorEvent): void {
    if (event.on !== "member") return;
    const { phase, role, leader } = event.change;
    if (phase === "outside") return;
    const status =
      role === "leader" ? "leads" : `stands by${leader === undefined ? "" : `; ${leader.id} leads`}`;
    this.#notify(...(this.#ready ? [] : ["--ready"]), `--status=${status}`);
    this.#ready = true;
  }

  stopping(): void {
    this.#notify("STOPPING=1", "--status=leaves the election");
  }

  #notify(...args: readonly string[]): void {
    if (!this.#asked) return;
    const run = (): Promise<void> =>
      new Promise((resolve) => {
        // Without the program systemd learns nothing, as with any other service.
        execFile("systemd-notify", [...args], () => resolve());
      });
    this.#last = this.#last.then(run);
  }
}
