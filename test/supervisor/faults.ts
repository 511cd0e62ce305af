import { childIds } from "../../src/supervisor/process-table.ts";
import type { Seat, Stage } from "./stage.ts";

/** Something that happens to the leader's supervisor, and how it comes back. */
export interface Fault {
  readonly title: string;
  strike(stage: Stage, leader: Seat, token: bigint): Promise<void>;
  heal(stage: Stage, leader: Seat): Promise<void>;
}

export const faults: readonly Fault[] = [
  {
    title: "its supervisor is killed",
    strike: async (_stage, { child }) => void (await child.kill()),
    heal: async (stage, seat) => stage.restart(seat),
  },
  {
    title: "its supervisor is stopped",
    strike: (_stage, { child }) => child.stop(),
    heal: async (_stage, { child }) => child.cont(),
  },
  {
    title: "its network swallows everything",
    strike: (_stage, { proxy }) => proxy.blackHole(),
    heal: async (_stage, { proxy }) => {
      proxy.resetAll();
      await proxy.heal();
    },
  },
  {
    title: "the program itself is killed",
    strike: async (_stage, { child }) => {
      // All children of the supervisor but the shim; whatever of them is the program dies.
      for (const pid of childIds(child.pid).slice(1)) process.kill(pid, "SIGKILL");
    },
    heal: async () => {},
  },
];

/** One round: something happens to the leader, the other one takes over, and the first one comes back as a standby. */
export async function round(stage: Stage, fault: Fault): Promise<void> {
  await stage.standing(2);
  const { leader, token } = await stage.acting();
  await fault.strike(stage, leader, token);
  await stage.acting(token);
  stage.assertOrder();
  await fault.heal(stage, leader);
  await stage.standing(2);
  stage.assertOrder();
}
