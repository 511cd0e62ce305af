import { systemClock } from "../clock.ts";
import { Announcements } from "./announcements.ts";
import { type ApiOptions, ApiServer } from "./api-server.ts";
import { superviseCold } from "./cold.ts";
import { chooseContainment } from "./containment.ts";
import type { SupervisorOptions } from "./options.ts";
import { Supervision } from "./supervision.ts";
import { Warden } from "./warden.ts";
import { superviseWarm } from "./warm.ts";

export type { SupervisorEvent, SupervisorOptions } from "./options.ts";

/** What a supervisor can be told while it runs. */
export interface SupervisorControl {
  /** Leave the line, stop the program within the grace time, resign. */
  stop(): void;
  /** The same with SIGKILL. */
  kill(): void;
  /** Passes a signal on to the program. */
  signal(name: NodeJS.Signals): void;
}

/**
 * Puts a program under an election, until it is told to stop or has reason to. Resolves to the exit code: the program's
 * own, or 1 after giving up. Rejects if it cannot begin.
 */
export async function supervise(
  options: SupervisorOptions,
  onStarted: (control: SupervisorControl) => void,
): Promise<number> {
  const { containment, refused } = chooseContainment(options.containment);
  options.on({ on: "contained", by: containment.name, refused });
  const announcements = await Announcements.open(systemClock, options);
  const warden = await Warden.start(systemClock, () => options.on({ on: "shim-lost" }));
  const supervision = new Supervision(options, containment, warden, announcements);
  let api: ApiServer | undefined;
  try {
    api = options.api === undefined ? undefined : await openApi(options.api, supervision);
    onStarted({
      stop: () => supervision.leave(),
      kill: () => supervision.hurry(),
      signal: (name) => supervision.program?.signal(name),
    });
    // What a supervisor that was killed has left behind is put away before there is a key.
    await announcements.runOnStandby(undefined, undefined);
    await (options.standby === "cold" ? superviseCold(supervision) : superviseWarm(supervision));
    return supervision.code;
  } finally {
    await supervision.program?.kill();
    await warden.close();
    await announcements.close();
    await api?.close();
  }
}

async function openApi(options: ApiOptions, supervision: Supervision): Promise<ApiServer> {
  const api = await ApiServer.open(options, {
    clock: supervision.clock,
    ttlMs: supervision.options.ttlSeconds * 1_000,
    role: supervision.announcements.role,
    report: () => supervision.report,
    metrics: () => supervision.metrics,
    stepDown: () => supervision.stepDown(),
  });
  supervision.apiAddress = api.address;
  supervision.options.on({ on: "api", address: api.address });
  return api;
}
