import type { Clock } from "../../clock.ts";
import { sleep } from "../../waiting.ts";
import type { FailoverKind } from "./record.ts";
import type { Stage } from "./stage.ts";

/** A deposed member's process is started again so long after its successor took over. */
const restartAfterMs = 1_000;
/** After the last failover the client shall see the new leader at work. */
const epilogueMs = 1_000;

export interface PlayOptions {
  /** How many failovers; undefined for no end. */
  readonly rounds: number | undefined;
  /** Quiet time before each. */
  readonly everyMs: number;
  readonly ttlSeconds: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly tell: (text: string) => void;
}

/** Kills the leader, then asks the next one to leave, and so on. Resolves after the last round. */
export async function play(stage: Stage, options: PlayOptions): Promise<void> {
  const { rounds, everyMs, ttlSeconds, clock, signal, tell } = options;
  // Something is badly wrong if it takes so long, and a run that ends by itself must end.
  const patienceMs = rounds === undefined ? Number.POSITIVE_INFINITY : 30_000 + ttlSeconds * 6_000;
  const within = (what: string, condition: () => boolean): Promise<void> =>
    inTime(stage, { what, condition, patienceMs, clock, signal });
  await within("nobody took the lead", () => stage.complete);
  for (let round = 1; rounds === undefined || round <= rounds; round++) {
    await sleep(clock, everyMs, signal);
    // The lead may have moved for reasons of its own.
    await within("the members are not complete", () => stage.complete && !stage.record.pending);
    const { leader } = stage;
    if (leader === undefined) continue;
    const kind: FailoverKind = round % 2 === 1 ? "crash" : "handover";
    tell(
      kind === "crash"
        ? `crash: killing ${leader.name} with SIGKILL`
        : `handover: asking ${leader.name} to leave`,
    );
    stage.depose(kind, leader);
    await within(`nobody took over from ${leader.name}`, () => !stage.record.pending);
    await within(`${leader.name} did not end`, () => leader.state === "down");
    if (round === rounds) break;
    stage.restart(leader, restartAfterMs);
    await within(`${leader.name} did not come back`, () => stage.complete);
  }
  await sleep(clock, epilogueMs, signal);
}

async function inTime(
  stage: Stage,
  {
    what,
    condition,
    patienceMs,
    clock,
    signal,
  }: {
    readonly what: string;
    readonly condition: () => boolean;
    readonly patienceMs: number;
    readonly clock: Clock;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  if (patienceMs === Number.POSITIVE_INFINITY) return await stage.until(condition, signal);
  const end = clock.now() + patienceMs;
  let late = false;
  const cancel = clock.at(end, () => {
    late = true;
    stage.look();
  });
  try {
    await stage.until(() => late || condition(), signal);
  } finally {
    cancel();
  }
  if (late) throw new Error(`${what} within ${Math.round(patienceMs / 1_000)} s`);
}
