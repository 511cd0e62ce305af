import type { Cause } from "../errors.ts";
import type { Etcd } from "../etcd/etcd.ts";
import type { Logger } from "../log.ts";
import type { MemberChange } from "../member/member.ts";
import type { ApiOptions } from "./api-server.ts";
import type { ContainmentName } from "./containment.ts";
import type { Exit } from "./exit.ts";
import type { HealthOptions } from "./health.ts";
import type { HookLines } from "./hook.ts";
import type { RestartOptions } from "./restarts.ts";

export type Standby = "cold" | "warm";

export interface SupervisorOptions {
  readonly etcd: Etcd;
  readonly election: string;
  readonly id: string;
  /** What to do about a candidate of the same id: ids that are made up anew are unique. */
  readonly namesakes: "ignore" | "wait" | "refuse";
  readonly ttlSeconds: number;
  /** Details of the member, for clients and people. */
  readonly details: { readonly address?: string; readonly zone?: string };
  readonly logger: Logger;
  readonly command: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Cold: the program runs while this member leads. Warm: always, and it is told its role. */
  readonly standby: Standby;
  /** How long the program has to stop after SIGTERM. */
  readonly graceMs: number;
  readonly containment: ContainmentName | "auto";
  readonly restarts: RestartOptions;
  readonly health: HealthOptions;
  readonly heartbeatFd: number | undefined;
  /** What a warm program is told its role by. */
  readonly signals: { readonly lead: NodeJS.Signals; readonly standby: NodeJS.Signals };
  /** What becomes of a warm program when its term ends. */
  readonly onLoss: "kill" | "signal";
  /** An absolute path. */
  readonly roleFile: string | undefined;
  readonly hooks: HookLines;
  /** Where programs and people can ask; nowhere if absent. */
  readonly api: ApiOptions | undefined;
  /** Called in the turn in which it happens; must not throw. */
  readonly on: (event: SupervisorEvent) => void;
}

/** What happens to a supervised program and its member; for logs, and for whatever else wants to follow. */
export type SupervisorEvent =
  | { readonly on: "contained"; readonly by: ContainmentName; readonly refused: readonly string[] }
  /** A candidate of the same id is in line; it is waited for, or the supervisor ends. */
  | {
      readonly on: "namesake";
      readonly key: string;
      readonly token: bigint;
      readonly refused: boolean;
    }
  /** What the member became; the state at the start, too. */
  | { readonly on: "member"; readonly change: MemberChange }
  /** This member leads from now on; the program is started, or told so, next. */
  | { readonly on: "leads"; readonly token: bigint }
  | { readonly on: "started"; readonly pid: number | undefined; readonly token: bigint | undefined }
  /** A warm program was told its role. */
  | { readonly on: "told"; readonly signal: NodeJS.Signals; readonly token: bigint | undefined }
  /** It is being stopped, and gets time for it. */
  | { readonly on: "stopping"; readonly cause: Cause; readonly withinMs: number }
  /** It is being killed. */
  | { readonly on: "killing"; readonly cause: Cause; readonly why: string }
  /** Its first process ended, and nothing is left of it. */
  | { readonly on: "ended"; readonly exit: Exit }
  /** A warm program that does not lead is not well, or is again. */
  | { readonly on: "unwell"; readonly cause: Cause; readonly why: string }
  | { readonly on: "well" }
  /** The API is there. */
  | { readonly on: "api"; readonly address: string }
  /** Somebody asked for the lead to be given up, and it was; or why it was not. */
  | { readonly on: "step-down"; readonly token: bigint; readonly refused: string | undefined }
  /** The role file does not say the present role. */
  | { readonly on: "role-file"; readonly why: string }
  /** It failed, or had to be killed. */
  | { readonly on: "hook"; readonly hook: "on-lead" | "on-standby"; readonly why: string }
  | { readonly on: "restart"; readonly failures: number }
  | { readonly on: "gave-up"; readonly failures: number; readonly windowMs: number }
  /** The process that kills the program in an emergency has died, and is started again. */
  | { readonly on: "shim-lost" };
