import { badOption } from "../errors.ts";
import { onAbort } from "../waiting.ts";
import { keyRange } from "./bytes.ts";
import type { Etcd } from "./etcd.ts";
import { EtcdError, grpc } from "./failure.ts";
import type { Watch, WatchEvents, Watcher, WatchRequest } from "./watch.ts";

/** How many revisions wait for a slow reader before the watch is closed, to be opened again where it stopped. */
const highWater = 1_024;

/**
 * The events of a watch as an iteration: nothing is lost, and a slow reader holds no memory. Throws
 * `BAD_OPTION` at once.
 */
export function watchEvents(
  etcd: Etcd,
  watcher: Watcher,
  request: WatchRequest,
  signal: AbortSignal | undefined,
): AsyncIterable<WatchEvents> {
  keyRange(request.key, request);
  const { startRevision = 0n, prevKv = false } = request;
  if (typeof startRevision !== "bigint" || startRevision < 0n || startRevision >= 1n << 63n) {
    throw badOption("startRevision", "a bigint from 0 to 2^63 - 1", startRevision);
  }
  if (typeof prevKv !== "boolean") throw badOption("prevKv", "a boolean", prevKv);
  return follow(etcd, watcher, request, signal);
}

async function* follow(
  etcd: Etcd,
  watcher: Watcher,
  request: WatchRequest,
  signal: AbortSignal | undefined,
): AsyncGenerator<WatchEvents, void> {
  const queue: WatchEvents[] = [];
  let end: { readonly reason: unknown } | undefined;
  let wake = (): void => {};
  let watch: Watch | undefined;
  let next = request.startRevision;
  const open = (): Watch =>
    watcher.open(next === undefined ? request : { ...request, startRevision: next }, {
      events: (batch) => {
        queue.push(batch);
        next = batch.revision + 1n;
        if (queue.length >= highWater) {
          watch?.close();
          watch = undefined;
        }
        wake();
      },
      canceled: (error) => {
        end ??= { reason: error };
        wake();
      },
    });
  const stop = (reason: unknown): void => {
    end ??= { reason };
    queue.length = 0;
    wake();
  };
  const forgets = [
    onAbort(signal, () => stop(signal?.reason)),
    onAbort(etcd.closedSignal, () => stop(etcd.closedSignal.reason)),
    // The revisions begin anew, so a watch would wait in silence for ones that may be of something else.
    etcd.onRestored(() => stop(restored())),
  ];
  try {
    while (true) {
      if (end === undefined && queue.length === 0) watch ??= open();
      const batch = queue.shift();
      if (batch !== undefined) yield batch;
      else if (end !== undefined) throw end.reason;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  } finally {
    for (const forget of forgets) forget();
    watch?.close();
  }
}

function restored(): EtcdError {
  const message = "watch: etcd's store went back or is another one; read anew";
  return new EtcdError("COMPACTED", message, grpc.outOfRange, false);
}
