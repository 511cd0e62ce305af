import { defaultMetaPrefix } from "../../concurrency/naming.ts";
import type { ErrorCode } from "../../errors.ts";
import { prefixEnd, toText } from "../../etcd/bytes.ts";
import { type CallOptions, Etcd } from "../../etcd/etcd.ts";
import { EtcdError } from "../../etcd/failure.ts";
import type { Logger } from "../../log.ts";
import type { Connection } from "../connection.ts";
import { oneLine } from "../one-line.ts";
import { judgeAlarms } from "./alarms.ts";
import { judgeClockRate, measureClockRate } from "./clock-rate.ts";
import { type EndpointSeen, judgeEndpoints } from "./endpoints.ts";
import { type Finding, quoted, some } from "./finding.ts";
import { judgeLeftovers, judgeStore, readKeys } from "./leftovers.ts";
import { giveBackMs, readAlarms, readEndpoint, readLeastTtl, readMembers, readTimes } from "./readings.ts";
import { judgeRights, readRights } from "./rights.ts";
import { judgeTiming } from "./timing.ts";
import { judgeVersions } from "./versions.ts";

export interface ExaminationOptions {
  readonly connection: Connection;
  readonly logger: Logger;
  /** The election to look at; else every one in which a member of Succession stands. */
  readonly election: string | undefined;
  readonly ttlSeconds: number;
  /** For how long the running of the clocks is compared. */
  readonly clockSeconds: number;
  /** For each request. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Elections are looked at one by one. */
const mostElections = 50;

/**
 * Looks at a cluster and its elections, and tells what it finds as it goes. Changes nothing but a few leases of its own,
 * which it gives back. Rejects by the signal alone: what cannot be looked at is a finding.
 */
export async function* examine(options: ExaminationOptions): AsyncGenerator<Finding, void> {
  const { connection, logger, timeoutMs, signal } = options;
  const limits: CallOptions = { timeoutMs, signal };
  const attemptTimeoutMs = Math.min(2_000, timeoutMs);
  const clientOf = (endpoints: readonly string[]): Etcd =>
    new Etcd({ ...connection, endpoints, logger, attemptTimeoutMs });
  const etcd = clientOf(connection.endpoints);
  // One endpoint each: their answers must not be those of another.
  const alone = connection.endpoints.map((endpoint) => clientOf([endpoint]));
  try {
    const seen = await Promise.all(alone.map((client) => readEndpoint(client, limits)));
    const serving = seen.flatMap(({ name, status }) => (status === undefined ? [] : [{ name, ...status }]));
    const members = serving.length === 0 ? undefined : await readMembers(etcd, limits);
    yield* judgeEndpoints(seen, members);
    if (serving.length === 0) return;
    yield* judgeVersions(serving);
    const errors = serving.flatMap(({ name, errors: said }) => said.map((error) => ({ name, error })));
    const alarms = judgeAlarms(await readAlarms(etcd, limits), errors);
    yield* alarms;
    // Nothing that follows has an answer.
    if (serving.every(({ leader }) => leader === 0n)) return;
    // While an alarm stands nothing is granted: only time would be lost.
    const calm = alarms.every(({ level }) => level === "ok");
    if (calm)
      yield* examineTime(
        etcd,
        alone.filter((_, at) => isServing(seen[at])),
        options,
      );
    yield* examineElections(etcd, options);
  } finally {
    await Promise.all([etcd, ...alone].map((client) => client.close()));
  }
}

function isServing(endpoint: EndpointSeen | undefined): boolean {
  return endpoint?.status !== undefined && endpoint.status.leader !== 0n;
}

async function* examineTime(
  etcd: Etcd,
  serving: readonly Etcd[],
  { ttlSeconds, clockSeconds, timeoutMs, signal }: ExaminationOptions,
): AsyncGenerator<Finding, void> {
  const limits = { timeoutMs, signal };
  const leastTtl = await readLeastTtl(etcd, limits);
  if (typeof leastTtl === "string") {
    const todo = "nobody can join like this: see the alarms, the user, and whether a majority is up";
    yield { level: "problem", check: "leases", what: `none is granted: ${leastTtl}`, todo };
    return;
  }
  const times = [];
  // One after the other, so that none is measured while it waits for another.
  for (const client of serving) times.push(await readTimes(client, limits));
  yield* judgeTiming(times, ttlSeconds, leastTtl);
  if (clockSeconds === 0) return;
  yield* await attempt("clock", signal, async () => {
    const { ID } = await etcd.leaseGrant(clockSeconds + 60, limits);
    try {
      return judgeClockRate(await measureClockRate(etcd, ID, clockSeconds, limits), clockSeconds);
    } finally {
      await etcd.leaseRevoke(ID, { timeoutMs: giveBackMs }).catch(() => {});
    }
  });
}

async function* examineElections(etcd: Etcd, options: ExaminationOptions): AsyncGenerator<Finding, void> {
  const { election, timeoutMs, signal } = options;
  const limits = { timeoutMs, signal };
  let elections = election === undefined ? [] : [election];
  if (election === undefined) {
    yield* await attempt("elections", signal, async () => {
      elections = await knownElections(etcd, limits);
      const most = elections.slice(0, mostElections);
      if (elections.length === 0) {
        const what = "no member of Succession stands in any";
        return [{ level: "ok", check: "elections", what }];
      }
      elections = most;
      return [{ level: "ok", check: "elections", what: `looked at ${some(most)}` }];
    });
  }
  for (const name of elections) {
    let mayRead = true;
    yield* await attempt("rights", signal, async () => {
      const rights = await readRights(etcd, name, limits).catch((error: unknown) => {
        // Whom etcd does not know it tells nothing else either.
        mayRead = codeOf(error) !== "AUTH_FAILED";
        throw error;
      });
      mayRead = rights.line.read;
      return judgeRights(rights);
    });
    if (!mayRead) continue;
    yield* await attempt("leftovers", signal, async () => {
      const keys = await readKeys(etcd, name, limits);
      return [...judgeLeftovers(keys), ...judgeStore(keys)];
    });
  }
}

/** What cannot be looked at is told, and does not end the examination. */
async function attempt(
  check: string,
  signal: AbortSignal,
  look: () => Promise<readonly Finding[]>,
): Promise<readonly Finding[]> {
  try {
    return await look();
  } catch (error) {
    signal.throwIfAborted();
    const what = `could not be looked at: ${oneLine(error)}`;
    const code = codeOf(error);
    const level = code === "AUTH_FAILED" ? "problem" : "warning";
    return [{ level, check, what, todo: (code && remedies[code]) ?? "mend what this says, and look again" }];
  }
}

function codeOf(error: unknown): ErrorCode | undefined {
  return error instanceof EtcdError ? error.code : undefined;
}

const remedies: Partial<Readonly<Record<ErrorCode, string>>> = {
  AUTH_FAILED: "give the user of the members by --user, and its password",
  // The rights to an election itself are looked at before.
  PERMISSION_DENIED: `name an election, or: etcdctl role grant-permission ROLE read ${quoted(defaultMetaPrefix)} ${quoted(toText(prefixEnd(defaultMetaPrefix)))}`,
};

/** The elections of which anything is kept beside their line. */
async function knownElections(etcd: Etcd, limits: CallOptions): Promise<string[]> {
  const { kvs } = await etcd.range(defaultMetaPrefix, { prefix: true, keysOnly: true, ...limits });
  const encoded = new Set(
    kvs.map((kv) => toText(kv.key).slice(defaultMetaPrefix.length).split("/")[0] ?? ""),
  );
  return [...encoded].flatMap((name) => {
    try {
      return name === "" ? [] : [decodeURIComponent(name)];
    } catch {
      // Somebody else's key.
      return [];
    }
  });
}
