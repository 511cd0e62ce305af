import { toText } from "../../src/etcd/bytes.ts";
import { byCreation } from "../../src/etcd/ops.ts";
import type { Logger } from "../../src/log.ts";
import type { MemberChange } from "../../src/member/changes.ts";
import { Member } from "../../src/member/member.ts";
import type { MemberOptions, MemberSettings } from "../../src/member/options.ts";
import { MemoryEtcd, type MemoryNetwork } from "../support/memory-transport.ts";

/** What a logger was told. */
export interface Said {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A logger that keeps what it was told. */
export function notebook(): { readonly logger: Logger; readonly said: Said[] } {
  const said: Said[] = [];
  const at =
    (level: Said["level"]) =>
    (fields: object, message: string): void => {
      said.push({ level, message, fields: fields as Said["fields"] });
    };
  return { logger: { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") }, said };
}

export const election = "/merc";

/** Members on a store in memory, each with a network of its own, under a clock that the test moves. */
export class World extends MemoryEtcd {
  /** Joins without letting time pass: on a sound network that needs none. */
  async join(id: string, settings: Partial<MemberSettings> = {}): Promise<Standing> {
    const network = this.network();
    const member = await Member.join(this.options(network, id, settings));
    await this.settle();
    return { member, network };
  }

  options(network: MemoryNetwork, id: string, settings: Partial<MemberSettings> = {}): MemberOptions {
    const { endpoints, connect, clock } = network;
    return { endpoints, connect, clock, election, id, ...settings };
  }

  /** Lets everything happen that needs no time. */
  async settle(): Promise<void> {
    await this.clock.advance(0);
  }

  async advance(ms: number): Promise<void> {
    await this.clock.advance(ms);
  }

  /** The ids in the line, the leader first. */
  get line(): string[] {
    return this.store.range(byCreation(`${election}/`)).kvs.map((kv) => toText(kv.value));
  }

  /** All but the records of terms, which are kept. */
  get keys(): string[] {
    return this.#all.filter((key) => !key.includes("/history/"));
  }

  get records(): string[] {
    return this.#all.filter((key) => key.includes("/history/"));
  }

  get #all(): string[] {
    return this.store
      .range({ key: Uint8Array.of(0), rangeEnd: Uint8Array.of(0) })
      .kvs.map((kv) => toText(kv.key));
  }

  get leases(): bigint[] {
    return this.store.leaseLeases().leases.map((lease) => lease.ID);
  }

  deleteLine(): void {
    const { key, rangeEnd } = byCreation(`${election}/`);
    this.store.deleteRange({ key: key as Uint8Array, rangeEnd: rangeEnd as Uint8Array });
  }
}

export interface Standing {
  readonly member: Member;
  readonly network: MemoryNetwork;
}

/** Collects every change until the member has left. */
export function collect(member: Member): MemberChange[] {
  const changes: MemberChange[] = [];
  void (async () => {
    for await (const change of member.changes()) changes.push(change);
  })();
  return changes;
}

/** A promise and the way to settle it. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** How a promise stands, without waiting for it. */
export function watched<T>(promise: Promise<T>): {
  state: "pending" | "resolved" | "rejected";
  reason?: unknown;
} {
  const result: { state: "pending" | "resolved" | "rejected"; reason?: unknown } = { state: "pending" };
  promise.then(
    () => {
      result.state = "resolved";
    },
    (reason: unknown) => {
      result.state = "rejected";
      result.reason = reason;
    },
  );
  return result;
}
