import { toBytes } from "../../src/etcd/bytes.ts";
import type { Etcd } from "../../src/etcd/etcd.ts";
import type { MemberSettings } from "../../src/member/options.ts";
import { pause, resume } from "../../src/steering/pause.ts";
import { election, type Standing, World } from "../member/world.ts";

/** Members in memory, and somebody who steers them from outside. */
export class Stage extends World {
  readonly outside: Etcd = this.network().client();

  /** Members that join one after the other, so the first of them leads. */
  async members<Id extends string>(
    all: Readonly<Record<Id, Partial<MemberSettings>>>,
  ): Promise<Readonly<Record<Id, Standing>>> {
    const standing: Partial<Record<Id, Standing>> = {};
    for (const id of Object.keys(all) as Id[]) standing[id] = await this.join(id, all[id]);
    return standing as Record<Id, Standing>;
  }

  /** A candidate of a Go program or of etcdctl: a key on a lease, without details. */
  async stranger(id: string): Promise<void> {
    this.put(id);
    await this.settle();
  }

  /** The same, before anybody has heard of it. */
  put(id: string): void {
    const { ID } = this.store.leaseGrant({ TTL: 1_000_000n });
    this.store.put({ key: toBytes(`${election}/${ID.toString(16)}`), value: toBytes(id), lease: ID });
  }

  /** Lets time pass until a promise has settled, and gives what it gives. */
  async until<T>(promise: Promise<T>, mostMs = 60_000): Promise<T> {
    let pending = true;
    promise.then(
      () => {
        pending = false;
      },
      () => {
        pending = false;
      },
    );
    for (let ms = 0; pending && ms < mostMs; ms += 50) await this.advance(50);
    return await promise;
  }

  pause(reason = "maintenance", forMs?: number): Promise<unknown> {
    return pause(this.outside, election, { reason, ...(forMs === undefined ? {} : { forMs }) });
  }

  resume(): Promise<unknown> {
    return resume(this.outside, election);
  }

  /** Everybody leaves; nothing may be left. */
  async end(standing: Readonly<Record<string, Standing>>): Promise<void> {
    for (const { member } of Object.values(standing)) await this.until(member.leave());
    await this.outside.close();
  }
}
