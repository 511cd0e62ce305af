import type { Cause } from "../../errors.ts";
import type { Connection } from "../connection.ts";

/** What the demo tells a member's process. */
export type Order =
  | {
      readonly on: "stand";
      readonly name: string;
      readonly election: string;
      readonly ttlSeconds: number;
      readonly connection: Connection;
    }
  | { readonly on: "leave" };

/** What a member's process tells the demo. Instants are `instant()`s. */
export type Report =
  /** Its key stands in the line, and its service listens at `address`. */
  | { readonly on: "standing"; readonly id: string; readonly address: string }
  /** It acts as leader from here on. */
  | { readonly on: "began"; readonly token: bigint; readonly at: number }
  /** It still does. */
  | { readonly on: "acting"; readonly token: bigint; readonly at: number }
  /** It does no longer. */
  | { readonly on: "ended"; readonly token: bigint; readonly at: number; readonly cause: Cause | undefined }
  /** It cannot stand. */
  | { readonly on: "failed"; readonly message: string };

/** Where the parent's end of the tether is in a member's process; see tether.ts. */
export const tetherFd = 4;

/** Milliseconds of the machine's monotonic clock: the same scale in every process of this machine. */
export function instant(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
