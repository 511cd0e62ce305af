import { Etcd } from "../etcd/etcd.ts";
import type { Context } from "./command.ts";
import { connectionOf } from "./connection.ts";
import { durationMsOf } from "./settings.ts";

/** A client of a cluster that has answered once: a wrong address must not look like a long wait. */
export async function contact({ arguments: args, env, stop, logger }: Context): Promise<Etcd> {
  const timeoutMs = durationMsOf(args, "timeout", 5);
  const etcd = new Etcd({ ...connectionOf(args, env), logger });
  try {
    await etcd.ready({ timeoutMs, signal: stop.signal });
    return etcd;
  } catch (error) {
    await etcd.close();
    throw error;
  }
}
