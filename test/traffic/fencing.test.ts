import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdServer } from "../support/etcd-server.ts";
import { Postgres, postgresBinaries } from "../support/postgres.ts";
import { Child } from "../support/processes.ts";

const cwd = fileURLToPath(new URL("../..", import.meta.url));

/** A late write is what etcd makes of it, so it is a real one wherever there is one. */
let etcd: { readonly endpoint: string; close(): Promise<void> };
beforeAll(async () => {
  const binary = realEtcds.at(-1);
  etcd = binary === undefined ? await DevServer.start() : await EtcdServer.start({ binary });
});
afterAll(() => etcd.close());

function start(name: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Child {
  const settings = { SUCCESSION_ENDPOINTS: etcd.endpoint, ...env };
  return Child.start({ args: [`examples/${name}`, ...args], cwd, env: { ...process.env, ...settings } });
}

/**
 * Stops the leader in the middle of its work, lets the next one lead and write, and lets the first go on: it writes, for
 * it cannot know how long it stood still, and is refused.
 */
async function lateWrite(program: (id: string) => Child): Promise<void> {
  const a = program("a");
  await a.waitFor("a: written", 20_000);
  const b = program("b");
  await a.waitFor("a: works", 10_000, { from: a.lines.length });
  await a.stop();
  const [from, fromB] = [a.lines.length, b.lines.length];
  const token = Number(/token (\d+)/.exec(a.lines.findLast((line) => line.includes("works")) ?? "")?.[1]);
  await b.waitFor("b: written", 20_000, { from: fromB });
  a.cont();
  await a.waitFor(`a: refused, token ${token}`, 15_000, { from });
  // Not a word of it was taken, before or after.
  expect(a.lines.slice(from)).not.toContain("a: written");
  await b.waitFor("b: written", 10_000, { from: b.lines.length });
  for (const child of [a, b]) {
    child.signal("SIGTERM");
    expect(await child.exit).toEqual({ code: 0, signal: null });
    expect(child.stderr).toBe("");
  }
}

describe.concurrent("a leader that was stopped in the middle of its work", () => {
  test("is refused by etcd, where its write is guarded by its key", async () => {
    await lateWrite((id) => start("fenced-etcd.mjs", [id]));
  }, 120_000);

  test("is refused by an HTTP service that knows a newer token", async () => {
    const store = start("fenced-http.mjs", ["store"]);
    const url = await store.waitFor("http://", 20_000);
    await lateWrite((id) => start("fenced-http.mjs", ["writer", id, url]));
    expect(await (await fetch(url, { headers: { connection: "close" } })).text()).toMatch(/^b, step \d+\n$/);
    store.signal("SIGTERM");
    expect(await store.exit).toEqual({ code: 0, signal: null });
  }, 120_000);
});

if (postgresBinaries === undefined) {
  process.stderr.write("\n*** POSTGRESQL NOT FOUND: the test of the fenced SQL table is skipped\n\n");
}

describe
  .skipIf(postgresBinaries === undefined)
  .concurrent("a leader that was stopped in the middle of its work", () => {
    test("is refused by an SQL table whose fence is higher", async () => {
      const postgres = await Postgres.start(postgresBinaries ?? "");
      try {
        await lateWrite((id) => start("fenced-sql.mjs", [id], postgres.env));
      } finally {
        await postgres.close();
      }
    }, 120_000);
  });
