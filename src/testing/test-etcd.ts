import type { Clock } from "../clock.ts";
import { checkElection } from "../concurrency/naming.ts";
import { refusals, StatusError } from "../devserver/status-error.ts";
import { Store, type StoreSnapshot } from "../devserver/store.ts";
import { badOption, closedError, SuccessionError } from "../errors.ts";
import { toBytes, toText } from "../etcd/bytes.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { AlarmRequest_AlarmAction, AlarmType } from "../etcd/gen/etcd_pb.ts";
import { byCreation } from "../etcd/ops.ts";
import { checkOptions } from "./arguments.ts";
import type { FaultScope } from "./faults.ts";
import type { ClientOptions, Link, LinkOptions, Turns } from "./link.ts";

/** A key that stands in an election. */
export interface Standing {
  /** The member's id: the key's value as text. */
  readonly id: string;
  readonly key: string;
  /** The fencing token: the key's create revision. */
  readonly token: bigint;
  /** The lease that the key hangs on; 0 if none. */
  readonly leaseId: bigint;
}

/** The state of an etcd at one moment, for `TestEtcd.restore`. */
export interface Backup {
  /** The revision of that moment. */
  readonly revision: bigint;
}

/** How etcd comes back from a restart. */
export interface RestartOptions {
  /** False: it comes back empty, as another cluster, at revision 1. @defaultValue true */
  readonly keepData?: boolean;
}

/**
 * etcd for the tests of a service, in this process, with switches for faults: the store, and ways to it. `TestServer`
 * serves it on real sockets, in real time; `VirtualEtcd` without sockets, under a clock that the test moves.
 *
 * Faults on the way (`silent`, `delay`, `refuse`) strike all links that there are, faults of the store everybody; `heal`
 * takes all of them back. What is done once (`expireLease`, `deleteKey`, `compact`, `restore`, …) takes effect before
 * the call returns, and is told to watches as etcd tells it. Every switch rejects or throws `CLOSED` after `close`,
 * `BAD_OPTION` for bad arguments, and `ETCD_REFUSED` where etcd would refuse, such as without quorum.
 */
export abstract class TestEtcd {
  readonly #clock: Clock;
  readonly #links: Link[] = [];
  readonly #backups: WeakMap<Backup, StoreSnapshot> = new WeakMap();
  #store: Store;
  #turn: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | undefined;

  /** @internal */
  protected constructor(clock: Clock) {
    this.#clock = clock;
    this.#store = new Store({ clock });
  }

  /** The way that there is from the beginning. */
  abstract get main(): Link;

  /** `host:port` of the main link, as members and etcd's clients take it. */
  get endpoint(): string {
    return this.main.endpoint;
  }

  /** Every link that is open, the main one first. */
  get links(): readonly Link[] {
    return this.#links.filter((link) => !link.closed);
  }

  /** A client over the main link. */
  client(options: ClientOptions = {}): Etcd {
    return this.main.client(options);
  }

  // On the way

  /** No link passes anything; see `Link.silent`. */
  silent(scope: FaultScope = {}): void {
    this.#checkOpen();
    for (const link of this.links) link.silent(scope);
  }

  /** What is sent on any link takes longer; see `Link.delay`. */
  delay(ms: number, scope: FaultScope = {}): void {
    this.#checkOpen();
    for (const link of this.links) link.delay(ms, scope);
  }

  /** Ends every connection and refuses new ones. The store goes on: leases end by their TTL, as nobody can renew them. */
  async refuse(): Promise<void> {
    this.#checkOpen();
    await Promise.all(this.links.map((link) => link.refuse()));
  }

  /** Takes every fault back that is not done once, of all links and of the store. */
  async heal(): Promise<void> {
    this.#checkOpen();
    this.#store.resume();
    this.#alarm(AlarmRequest_AlarmAction.DEACTIVATE);
    await Promise.all(this.links.map((link) => link.heal()));
  }

  // The store

  /** The line of an election, the leader first. */
  line(election: string): readonly Standing[] {
    checkElection(election);
    const { kvs } = this.#act((store) => store.range(byCreation(`${election}/`)));
    return kvs.map(({ key, value, createRevision, lease }) => ({
      ...{ id: toText(value), key: toText(key), token: createRevision, leaseId: lease },
    }));
  }

  /** Deletes a key, whoever owns it; whether there was one. */
  deleteKey(key: string): boolean {
    if (typeof key !== "string" || key === "") throw badOption("key", "the name of a key", key);
    return this.#act((store) => store.deleteRange({ key: toBytes(key) })).deleted > 0n;
  }

  /** Deletes the leader's key; the key that it was, `undefined` if nobody stood there. */
  deleteLeader(election: string): Standing | undefined {
    const [leader] = this.line(election);
    if (leader !== undefined) this.deleteKey(leader.key);
    return leader;
  }

  /** Ends a lease now, as if its TTL had passed without a renewal, with all its keys. */
  expireLease(leaseId: bigint): void {
    this.#endLease(leaseId);
  }

  /** Revokes a lease, as `etcdctl lease revoke` does: to those concerned it looks as if it had expired. */
  revokeLease(leaseId: bigint): void {
    this.#endLease(leaseId);
  }

  /**
   * Forgets the history before a revision, by default all of it: a watch that is behind it must begin anew. What is
   * compacted already stays so.
   */
  compact(revision: bigint = this.#store.revision): void {
    if (typeof revision !== "bigint" || revision < 0n)
      throw badOption("revision", "a bigint of 0 or more", revision);
    this.#act((store) => {
      try {
        store.compact({ revision });
      } catch (error) {
        if ((error as Error).message !== refusals.compacted().message) throw error;
      }
    });
  }

  /** Raises etcd's `NOSPACE` alarm: puts and new leases are refused, renewals and deletions go on. */
  noSpace(): void {
    this.#checkOpen();
    this.#alarm(AlarmRequest_AlarmAction.ACTIVATE);
  }

  /** The quorum is lost: etcd answers that it has no leader, and no lease ends. `heal` gives every lease its full TTL. */
  noQuorum(): void {
    this.#checkOpen();
    this.#store.pause();
  }

  /** Remembers the state, for `restore`. */
  backup(): Backup {
    this.#checkOpen();
    const backup: Backup = Object.freeze({ revision: this.#store.revision });
    this.#backups.set(backup, this.#store.snapshot());
    return backup;
  }

  /**
   * Goes back to an earlier state of this etcd, as an operator does by a backup: the revision goes back too, every watch
   * breaks, and the leases of then live again with their full TTL.
   */
  restore(backup: Backup): void {
    this.#checkOpen();
    const snapshot = this.#backups.get(backup);
    if (snapshot === undefined) throw badOption("backup", "what backup() of this etcd returned", backup);
    this.#store.restore(snapshot);
  }

  /**
   * Ends every connection and comes back at the same address, with its data, where every lease has its full TTL again,
   * or without any. Regains the quorum; links that refuse go on refusing.
   */
  async restart(options: RestartOptions = {}): Promise<void> {
    this.#checkOpen();
    checkOptions(options, ["keepData"]);
    const { keepData = true } = options;
    if (typeof keepData !== "boolean") throw badOption("keepData", "true or false", keepData);
    await this.#turns(async () => {
      this.#store.pause();
      await Promise.all(this.links.map((link) => link.down()));
      if (this.#closed !== undefined) return;
      if (!keepData) {
        this.#store.close();
        this.#store = new Store({ clock: this.#clock });
      }
      this.#store.resume();
      await Promise.all(this.links.map((link) => link.back()));
    });
  }

  /** Closes every link with its clients, and ends the store. Nothing is left that keeps the process alive. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal */
  protected get linkOptions(): LinkOptions {
    this.#checkOpen();
    return { clock: this.#clock, turns: this.#turns, store: () => this.#store };
  }

  /** @internal */
  protected add<L extends Link>(link: L): L {
    this.#checkOpen();
    this.#links.push(link);
    return link;
  }

  readonly #turns: Turns = (task) => {
    const done = this.#turn.then(task);
    this.#turn = done.catch(() => {});
    return done;
  };

  #endLease(leaseId: bigint): void {
    if (typeof leaseId !== "bigint") throw badOption("leaseId", "a bigint", leaseId);
    this.#act((store) => {
      if (store.leaseTimeToLive({ ID: leaseId }).TTL < 0n) {
        throw badOption("leaseId", "the id of a lease that exists", leaseId);
      }
      store.leaseRevoke({ ID: leaseId });
    });
  }

  #alarm(action: AlarmRequest_AlarmAction): void {
    const { memberId } = this.#store;
    this.#act((store) => store.alarm({ action, alarm: AlarmType.NOSPACE, memberId }));
  }

  #act<T>(task: (store: Store) => T): T {
    this.#checkOpen();
    try {
      return task(this.#store);
    } catch (cause) {
      if (!(cause instanceof StatusError)) throw cause;
      throw new SuccessionError("ETCD_REFUSED", cause.message, { cause });
    }
  }

  #checkOpen(): void {
    if (this.#closed !== undefined) throw closedError("the test's etcd");
  }

  async #end(): Promise<void> {
    await Promise.all(this.#links.map((link) => link.close()));
    this.#store.close();
  }
}
