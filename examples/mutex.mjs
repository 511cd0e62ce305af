/**
 * A job that must not run twice at once, wherever it is started. The keys are those of Go's `concurrency.Mutex`: both
 * sides exclude each other.
 *
 *   node examples/mutex.mjs [NAME]
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Etcd, Mutex, Session } from "succession";

const [name = "/jobs/nightly"] = process.argv.slice(2);
const { SUCCESSION_ENDPOINTS: endpoints = "127.0.0.1:2379" } = process.env;
const say = (text) => process.stdout.write(`${text}\n`);

const etcd = new Etcd({ endpoints: endpoints.split(",") });
const session = await Session.open(etcd, { ttlSeconds: 5 });
const mutex = new Mutex(session, name);
try {
  const { token, signal } = await mutex.lock();
  say(`locked, token ${token}`);
  // The work ends early if the lock is lost; where the result is written, an older token can be refused.
  await sleep(200, undefined, { signal });
  say("done");
  await mutex.unlock();
} finally {
  await session.close();
  await etcd.close();
}
