import type { StoreSnapshot } from "../../src/devserver/store.ts";
import { prefixEnd, toBytes } from "../../src/etcd/bytes.ts";
import { deleteOp, putOp } from "../../src/etcd/ops.ts";
import { pauseKey } from "../../src/steering/names.ts";
import { type Link, usuallyLate } from "./link.ts";
import { MemberProgram } from "./member-program.ts";
import type { Mood } from "./program.ts";
import type { Simulation } from "./simulation.ts";
import type { Fault } from "./story.ts";

/** Lets a trouble begin. The result ends it; undefined for one that cannot happen now. */
export type Trouble = (simulation: Simulation, fault: Fault) => (() => void) | undefined;

const nothing = (): void => {};

/** The process that a fault is about. */
function slotOf(simulation: Simulation, { leader, x }: Fault): number {
  const first = leader ? simulation.leaderSlot() : undefined;
  return first ?? Math.min(simulation.slots.length - 1, Math.floor(x * simulation.slots.length));
}

function memberOf(simulation: Simulation, { y }: Fault): number {
  return Math.floor(y * simulation.cluster.members.length);
}

/** Does something now and every `ms` until the result is called, ending what the turn before began. */
function byTurns(
  simulation: Simulation,
  ms: number,
  begin: (turn: number) => (() => void) | undefined,
): () => void {
  const { agenda } = simulation;
  let end: (() => void) | undefined;
  let cancel = nothing;
  const next = (turn: number): void => {
    end?.();
    end = begin(turn);
    cancel = agenda.at(agenda.now + ms, () => next(turn + 1));
  };
  next(0);
  return () => {
    cancel();
    end?.();
  };
}

/** Requests that were given up are carried out no more often than usual. */
function onTime(ways: readonly Link[]): void {
  for (const link of ways) link.late = usuallyLate;
}

function all(ends: readonly (() => void)[]): () => void {
  return () => {
    for (const end of ends) end();
  };
}

/** The ways of one process: all of them, or one of them. */
function links(simulation: Simulation, fault: Fault, one: boolean): Link[] {
  const slot = slotOf(simulation, fault);
  const { members } = simulation.cluster;
  const chosen = one ? [members[memberOf(simulation, fault)]] : members;
  return chosen.flatMap((member) => (member === undefined ? [] : [simulation.link(slot, member.name)]));
}

function stop(machine: boolean): Trouble {
  return (simulation, fault) => {
    const { host } = simulation.slots[slotOf(simulation, fault)]?.program ?? {};
    if (host === undefined || !host.alive) return undefined;
    host.stop(machine);
    simulation.note(`${host.name} stopped`);
    return () => {
      simulation.note(`${host.name} resumed`);
      host.resume(machine);
    };
  };
}

function lose(directions: readonly ("up" | "down")[], one: (fault: Fault) => boolean): Trouble {
  return (simulation, fault) =>
    all(
      links(simulation, fault, one(fault)).flatMap((link) =>
        directions.map((direction) => link.lose(direction)),
      ),
    );
}

/** The work under way will not stop in its time. */
function spoil(at: Mood["at"]): Trouble {
  return (simulation, fault) => {
    const { program } = simulation.slots[slotOf(simulation, fault)] ?? {};
    return program?.spoil({ at, forMs: fault.forMs }) === true ? nothing : undefined;
  };
}

/** The key that a fault is about. */
function keyOf(simulation: Simulation, { leader, x }: Fault): string | undefined {
  const { line } = simulation.truth;
  return (leader ? line[0] : line[Math.floor(x * line.length)])?.key;
}

/** What operators do comes from another way than ours, and an outage stops it as well. */
function operator(act: (simulation: Simulation, fault: Fault) => (() => void) | undefined): Trouble {
  return (simulation, fault) => {
    if (simulation.cluster.paused) return undefined;
    return simulation.truth.as("operator", () => act(simulation, fault));
  };
}

export const troubles: Readonly<Record<Fault["kind"], Trouble>> = {
  stop: stop(false),
  stall: stop(false),
  suspend: stop(true),

  crash: (simulation, fault) => {
    const slot = slotOf(simulation, fault);
    if (!simulation.crash(slot)) return undefined;
    return () => simulation.start(slot);
  },

  leave: (simulation, fault) => {
    const slot = slotOf(simulation, fault);
    const { program } = simulation.slots[slot] ?? {};
    if (program === undefined || !program.host.alive || program.leaving) return undefined;
    program.leaving = true;
    program.host.deliver("orders", () => program.leave());
    return () => simulation.start(slot);
  },

  "clock-rate": (simulation, fault) => {
    const { host } = simulation.slots[slotOf(simulation, fault)]?.program ?? {};
    const { drift } = simulation.scenario;
    if (host === undefined || !host.alive || drift === 0) return undefined;
    // As fast or as slow as can be, or something between.
    host.drift(1 + drift * (fault.y < 0.5 ? Math.sign(fault.x - 0.5) : 4 * (fault.y - 0.75)));
    return nothing;
  },

  "work-throws": (simulation, fault) =>
    simulation.slots[slotOf(simulation, fault)]?.program.disturb() === true ? nothing : undefined,
  "work-hangs": spoil("hangs"),
  "work-ignores": spoil("ignores"),

  cut: lose(["up", "down"], () => false),
  "cut-one": lose(["up", "down"], () => true),
  "half-open-out": lose(["up"], ({ y }) => y < 0.4),
  "half-open-in": lose(["down"], ({ y }) => y < 0.4),

  break: (simulation, fault) => {
    for (const link of links(simulation, fault, fault.y < 0.3)) link.reset();
    return nothing;
  },

  delay: (simulation, fault) =>
    all(links(simulation, fault, fault.y < 0.2).map((link) => link.delay(50 + fault.x * 1_500))),

  late: (simulation, fault) => {
    const ways = links(simulation, fault, false);
    const delays = ways.map((link) => link.delay(200 + fault.y * 1_600));
    for (const link of ways) link.late = 1;
    return all([...delays, () => onTime(ways)]);
  },

  reorder: (simulation, fault) => {
    const ways = links(simulation, fault, false);
    for (const link of ways) link.late = 1;
    // By turns one way is slow and the others are not, so that what was sent first comes last.
    const end = byTurns(simulation, 300, (turn) =>
      ways[turn % (ways.length + 1)]?.delay(300 + fault.y * 1_200),
    );
    return all([end, () => onTime(ways)]);
  },

  duplicate: (simulation, fault) => {
    const ways = links(simulation, fault, false);
    const ends = ways.map((link) => link.delay(100 + fault.y * 500));
    for (const link of ways) link.late = 1;
    const end = byTurns(simulation, 200 + fault.x * 300, () => {
      for (const link of ways) link.linger();
      return undefined;
    });
    return all([...ends, end, () => onTime(ways)]);
  },

  "starve-renewals": (simulation, fault) => {
    const ways = links(simulation, fault, false);
    const silent = fault.y < 0.5 ? "deafToRenewals" : "muteRenewals";
    for (const link of ways) link[silent]++;
    return () => {
      for (const link of ways) link[silent]--;
      for (const link of ways) link.releaseRenewals();
    };
  },

  "starve-requests": (simulation, fault) => {
    const ways = links(simulation, fault, false);
    const silent = fault.y < 0.5 ? "deafToRequests" : "muteRequests";
    for (const link of ways) link[silent]++;
    return () => {
      for (const link of ways) link[silent]--;
      for (const link of ways) link.releaseRequests();
    };
  },

  starve: (simulation, fault) => {
    const ways = links(simulation, fault, false);
    for (const link of ways) link.starved++;
    return () => {
      for (const link of ways) link.starved--;
      for (const member of simulation.cluster.members) member.feed();
    };
  },

  "endpoint-stop": (simulation, fault) => simulation.cluster.members[memberOf(simulation, fault)]?.stop(),
  "endpoint-freeze": (simulation, fault) => simulation.cluster.members[memberOf(simulation, fault)]?.freeze(),
  "endpoint-isolate": (simulation, fault) =>
    simulation.cluster.members[memberOf(simulation, fault)]?.isolate(300 + fault.x * 2_000),
  "endpoint-slow": (simulation, fault) =>
    simulation.cluster.members[memberOf(simulation, fault)]?.slow(100 + fault.x * 1_700),
  "endpoint-starve": (simulation, fault) => simulation.cluster.members[memberOf(simulation, fault)]?.starve(),

  "member-removed": (simulation, fault) => {
    const end = simulation.cluster.members[memberOf(simulation, fault)]?.stop();
    if (end === undefined) return undefined;
    if (fault.x < 0.6) simulation.electFor(100 + fault.x * 1_500);
    return end;
  },

  "member-added": (simulation, fault) => {
    const end = simulation.cluster.members[memberOf(simulation, fault)]?.learn();
    if (end === undefined) return undefined;
    return () => {
      end();
      // Quorums change with the number of members, and the leader may.
      if (fault.x < 0.6) simulation.electFor(50 + fault.x * 800);
    };
  },

  "raft-leader": (simulation) => simulation.cluster.elect(),
  outage: (simulation) => simulation.cluster.pause(),

  compaction: (simulation) => {
    const { store, paused } = simulation.cluster;
    if (paused) return undefined;
    try {
      store.compact({ revision: store.revision });
    } catch {
      // Compacted already.
    }
    return nothing;
  },

  "no-space": (simulation) => simulation.cluster.fill(),

  "auth-expiry": (simulation, { forMs }) => {
    const { cluster, agenda } = simulation;
    cluster.invalidateTokens();
    // Tokens of a short life: again and again.
    const until = agenda.now + forMs;
    for (let at = agenda.now + 700; at < until; at += 700) agenda.at(at, () => cluster.invalidateTokens());
    return nothing;
  },

  "delete-key": operator((simulation, fault) => {
    const key = keyOf(simulation, fault);
    if (key === undefined) return undefined;
    simulation.cluster.store.deleteRange({ key: toBytes(key) });
    return nothing;
  }),

  "delete-two": operator((simulation, { x }) => {
    const { line } = simulation.truth;
    if (line.length < 2) return undefined;
    const first = x < 0.6 ? 0 : Math.floor(x * (line.length - 1));
    const keys = line.slice(first, first + 2).map(({ key }) => key);
    simulation.cluster.store.txn({ success: keys.map(deleteOp) });
    return nothing;
  }),

  "delete-prefix": operator((simulation) => {
    const prefix = `${simulation.scenario.election}/`;
    simulation.cluster.store.deleteRange({ key: toBytes(prefix), rangeEnd: prefixEnd(prefix) });
    return nothing;
  }),

  "revoke-lease": operator((simulation, fault) => {
    const key = simulation.truth.get(keyOf(simulation, fault) ?? "");
    if (key === undefined || key.lease === 0n) return undefined;
    simulation.cluster.store.leaseRevoke({ ID: key.lease });
    return nothing;
  }),

  "overwrite-key": operator((simulation, fault) => {
    const key = keyOf(simulation, fault);
    if (key === undefined) return undefined;
    const { y } = fault;
    const { store } = simulation.cluster;
    // The value alone, which harms nobody; without the lease; or a new key of the same name, with or without it.
    const lease = y < 0.2 || y > 0.8 ? (simulation.truth.get(key)?.lease ?? 0n) : 0n;
    try {
      if (y > 0.6) store.deleteRange({ key: toBytes(key) });
      store.put({ key: toBytes(key), value: toBytes("overwritten"), lease });
    } catch {
      // No space.
    }
    return () => simulation.removeStrangers();
  }),

  stranger: operator((simulation, { x }) => {
    const key = `${simulation.scenario.election}/stranger${Math.floor(x * 1e6)}`;
    try {
      simulation.cluster.store.txn({ success: [putOp(key, "stranger")] });
    } catch {
      return undefined;
    }
    return () => simulation.removeStrangers();
  }),

  handover: (simulation, fault) => askForHandover(simulation, fault, undefined),
  "handover-to": (simulation, fault) => {
    const { line } = simulation.truth;
    return askForHandover(simulation, fault, line[Math.floor(fault.y * line.length)]?.key);
  },

  pause: operator((simulation) => {
    const { store } = simulation.cluster;
    try {
      store.put({ key: toBytes(pauseKey(simulation.scenario.election)), value: toBytes('{"reason":"r"}') });
    } catch {
      return undefined;
    }
    return () => simulation.endPause();
  }),

  restore: restore(false),
  "other-cluster": restore(true),
};

function askForHandover(
  simulation: Simulation,
  fault: Fault,
  to: string | undefined,
): (() => void) | undefined {
  const { program } = simulation.slots[slotOf(simulation, fault)] ?? {};
  const asked = program instanceof MemberProgram && program.askForHandover(to, fault.forMs);
  return asked ? nothing : undefined;
}

function restore(otherCluster: boolean): Trouble {
  return (simulation, fault) => {
    const backup: StoreSnapshot | undefined = simulation.backups.get(fault);
    if (backup === undefined) return undefined;
    const { cluster } = simulation;
    const ends = [cluster.pause(), ...cluster.members.map((member) => member.stop())];
    return () => {
      cluster.restore(backup, otherCluster);
      for (const end of ends) end();
    };
  };
}
