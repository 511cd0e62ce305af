import type { ClockOrigin } from "../clock.ts";
import type { Connection } from "../etcd/etcd.ts";

/** What to do with a process whose main thread is blocked while it leads. */
export type OnHang = "kill" | "report";

/** What the renewal thread is started with. Memory is shared; everything else is copied. */
export interface ThreadData {
  readonly origin: ClockOrigin;
  readonly signOfLife: SharedArrayBuffer;
}

/** A lease to keep alive. */
export interface LeaseOrder {
  /** Its number in this protocol. */
  readonly lease: number;
  /** The number of the client that it belongs to: leases of one client share a connection. */
  readonly client: number;
  readonly connection: Connection;
  readonly leaseId: bigint;
  readonly ttlMs: number;
  /** When the last renewal was sent that was answered. */
  readonly renewedAt: number;
  readonly proof: SharedArrayBuffer;
  /** Renewal is withheld while the main thread has been silent for longer. */
  readonly hangAfterMs: number;
  /** Whether renewal has been withheld for that reason and not been taken up again. */
  readonly hung: SharedArrayBuffer;
  /** Set by the main thread, before its message comes. */
  readonly stopped: SharedArrayBuffer;
  readonly onHang: OnHang;
}

/** A candidate's key to look at while the main thread does not. */
export interface KeyOrder {
  readonly key: number;
  readonly lease: number;
  readonly name: string;
  readonly token: bigint;
  readonly proof: SharedArrayBuffer;
  /** Whether the main thread's work acts as leader under this key. */
  readonly acting: SharedArrayBuffer;
}

export type ToThread =
  | ({ readonly do: "renew" } & LeaseOrder)
  | { readonly do: "stop"; readonly lease: number }
  | ({ readonly do: "watch" } & KeyOrder)
  | { readonly do: "forget"; readonly key: number }
  | { readonly do: "close"; readonly client: number };

export type FromThread =
  /** The thread has renewed this lease once, and goes on. */
  | { readonly on: "taken"; readonly lease: number }
  /** The thread cannot renew it now. */
  | { readonly on: "refused"; readonly lease: number; readonly why: string }
  | {
      readonly on: "renewed";
      readonly lease: number;
      readonly sentAt: number;
      readonly ttlMs: number;
      readonly roundTripMs: number;
    }
  | { readonly on: "gone"; readonly lease: number }
  /** The thread watches this key, and with `onHang` "kill" over its work. */
  | { readonly on: "watching"; readonly key: number }
  | { readonly on: "key-seen"; readonly key: number; readonly sentAt: number }
  | { readonly on: "key-missing"; readonly key: number }
  | { readonly on: "restored"; readonly client: number }
  | {
      readonly on: "log";
      readonly client: number;
      readonly level: "debug" | "info" | "warn" | "error";
      readonly fields: object;
      readonly message: string;
    };
