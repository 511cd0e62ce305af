import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdServer } from "../support/etcd-server.ts";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/free-ports.ts";
import { Child } from "../support/processes.ts";
import { cleanEnv, events, eventWith, execute, main, succession } from "./succession.ts";

interface Store {
  readonly endpoint: string;
  close(): Promise<void>;
}

const stores: [string, () => Promise<Store>][] = [
  ["the dev server", () => DevServer.start()],
  ...realEtcds.map((binary): [string, () => Promise<Store>] => [
    `etcd ${binary.version}`,
    () => EtcdServer.start({ binary }),
  ]),
];

describe.concurrent.each(stores)("elect and status on %s", (_title, startStore) => {
  let store: Store;
  let etcd: Etcd;
  let at: readonly string[];
  let elections = 0;

  beforeAll(async () => {
    store = await startStore();
    etcd = new Etcd({ endpoints: [store.endpoint] });
    at = ["--endpoints", store.endpoint];
  });

  afterAll(async () => {
    await etcd?.close();
    await store?.close();
  });

  const freshElection = (): string => `/elect-${++elections}`;
  const keysOf = async (election: string): Promise<number> =>
    Number((await etcd.range(`${election}/`, { prefix: true, countOnly: true })).count);

  test("the next in line takes over, and everybody tells the same story", async () => {
    const election = freshElection();
    await using first = succession(["elect", election, "a:1", "--json", ...at]);
    const led = await eventWith(first, { event: "leader" });
    await using second = succession(["elect", election, "b:2", "--json", ...at]);
    await eventWith(second, { event: "standby" });
    await using observer = succession(["elect", "--listen", election, "--json", ...at]);
    await eventWith(observer, { leader: "a:1" });

    const start = performance.now();
    expect(await first.kill("SIGINT")).toEqual({ code: 0, signal: null });
    expect(performance.now() - start).toBeLessThan(2_000);
    const taken = await eventWith(second, { event: "leader" });
    const seen = await eventWith(observer, { leader: "b:2" });

    expect(led).toMatchObject({ election, id: "a:1", leader: "a:1", cause: null });
    // What it may still hear of its successor comes after that.
    const own = events(first).slice(0, 3);
    expect(own.map(({ event, cause }) => [event, cause])).toEqual([
      ["candidate", null],
      ["leader", null],
      ["standby", "resigned"],
    ]);
    expect(events(second)[1]).toMatchObject({ event: "standby", leader: "a:1", token: led.token });
    expect(seen).toEqual({ ...seen, event: "observed", election, id: null, token: taken.token, cause: null });
    expect(taken.token).toBeGreaterThan(led.token);
    expect(new Date(taken.time).toISOString()).toBe(taken.time);

    await Promise.all([second.kill("SIGTERM"), observer.kill("SIGTERM")]);
    expect([second.ended?.code, observer.ended?.code]).toEqual([0, 0]);
    expect(await keysOf(election)).toBe(0);
  });

  test("as text it prints the key and the value, as etcdctl does", async () => {
    const election = freshElection();
    await using member = succession(["elect", election, "a:1", ...at]);
    const key = await member.waitFor(`${election}/`, 10_000, { from: 1 });
    await using observer = succession(["elect", "-l", election, ...at]);
    await observer.waitFor("a:1", 10_000);
    expect(observer.lines).toEqual([key, "a:1"]);
    expect(member.lines.slice(-2)).toEqual([key, "a:1"]);
  });

  test("a key that is deleted is told with its cause, and the candidate comes back", async () => {
    const election = freshElection();
    await using member = succession(["elect", election, "a", "--json", ...at]);
    await eventWith(member, { event: "leader" });
    await etcd.delete(`${election}/`, { prefix: true });
    await eventWith(member, { event: "standby", cause: "key-gone" });
    await eventually(() =>
      expect(events(member).map(({ event }) => event)).toEqual([
        ...["candidate", "leader", "standby", "candidate", "leader"],
      ]),
    );
  });

  test("status shows the leader and the line, and knows the elections", async () => {
    const election = freshElection();
    await using first = succession(["elect", election, "a:1", "--json", ...at]);
    const led = await eventWith(first, { event: "leader" });
    await using second = succession(["elect", election, "b:2", "--json", ...at]);
    await eventWith(second, { event: "standby" });

    const status = await eventually(async () => {
      const { code, stdout } = await execute(["status", election, "--json", ...at]);
      expect(code).toBe(0);
      const shown = JSON.parse(stdout);
      expect(shown.line[1].since).toBeDefined();
      return shown;
    });
    expect(status).toMatchObject({ election, leader: { id: "a:1", token: led.token } });
    expect(status.line.map(({ id }: { id: string }) => id)).toEqual(["a:1", "b:2"]);
    const { key, leaseId } = status.leader;
    expect(key).toBe(`${election}/${leaseId}`);

    const all = await execute(["status", "--json", ...at]);
    expect(all.stdout.split("\n").map((line) => JSON.parse(line).election)).toContain(election);
    const text = await execute(["status", election], { ETCDCTL_ENDPOINTS: store.endpoint });
    expect(text.stdout).toMatch(new RegExp(`^${election}: a:1 leads( since .*)?, 1 in line behind$`, "m"));
  });

  test("status of an election without candidates says so, with exit code 0", async () => {
    const { code, stdout } = await execute(["status", "/nobody", "--json", ...at]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ election: "/nobody", leader: null, line: [] });
  });

  test("a closed pipe ends it quietly, and it resigns first", async () => {
    const election = freshElection();
    const command = `"$0" "$@" | head -1; exit "\${PIPESTATUS[0]}"`;
    const args = ["-c", command, process.execPath, main, "elect", election, "a", ...at];
    await using pipe = Child.start({ command: "bash", args, env: cleanEnv() });
    await pipe.waitFor("candidate", 10_000);
    // Whoever has nothing to say does not notice; so something happens.
    const disturb = setInterval(
      () => void etcd.delete(`${election}/`, { prefix: true }).catch(() => {}),
      500,
    );
    try {
      expect(await pipe.exit).toEqual({ code: 0, signal: null });
    } finally {
      clearInterval(disturb);
    }
    expect(pipe.stderr).toBe("");
    await eventually(async () => expect(await keysOf(election)).toBe(0));
  });
});

describe("elect through trouble", () => {
  test("it waits through an outage, says so once, and is back afterwards", async () => {
    const [port] = (await freePorts(1)) as [number];
    let server = await DevServer.start({ port });
    await using member = succession([
      ...["elect", "/merc", "a", "--ttl", "2", "--json", "--endpoints", server.endpoint],
    ]);
    await eventWith(member, { event: "leader" });
    await server.close();
    await eventWith(member, { event: "standby", cause: "deadline" });
    await eventWith(member, { event: "error", cause: "ETCD_UNAVAILABLE" });
    server = await DevServer.start({ port });
    try {
      await member.waitForError("etcd answers again", 15_000);
      await eventually(() => expect(events(member).at(-1)).toMatchObject({ event: "leader" }), {
        timeoutMs: 15_000,
      });
      expect(member.stderr.match(/waiting for etcd/g)).toHaveLength(1);
    } finally {
      await member.kill("SIGINT");
      await server.close();
    }
  });

  test("without etcd Ctrl-C still ends it with 0 within two seconds, and a second one at once", async () => {
    const server = await DevServer.start();
    const args = ["elect", "/merc", "a", "--json", "--endpoints", server.endpoint];
    await using patient = succession(args);
    await using hasty = succession(args);
    await eventWith(patient, { event: "candidate" });
    await eventWith(hasty, { event: "candidate" });
    await server.close();

    const start = performance.now();
    patient.signal("SIGINT");
    hasty.signal("SIGINT");
    await new Promise((resolve) => setTimeout(resolve, 400));
    hasty.signal("SIGINT");
    expect((await hasty.exit).code).toBe(1);
    expect(performance.now() - start).toBeLessThan(1_200);
    expect((await patient.exit).code).toBe(0);
    expect(performance.now() - start).toBeLessThan(2_200);
  });
});

describe.each(realEtcds)("elect among candidates of etcdctl $version", (binary) => {
  test("the order of succession is the order of creation, and both see the same leader", async () => {
    await using server = await EtcdServer.start({ binary });
    const at = ["--endpoints", server.endpoint];
    await using first = server.startEtcdctl("elect", "/mixed", "theirs-1");
    await first.waitFor("theirs-1", 10_000);
    await using second = succession(["elect", "/mixed", "ours-2", "--json", ...at]);
    await eventWith(second, { event: "standby", leader: "theirs-1" });
    await using third = server.startEtcdctl("elect", "/mixed", "theirs-3");
    await eventually(async () => {
      const { stdout } = await execute(["status", "/mixed", "--json", ...at]);
      const { line } = JSON.parse(stdout) as { line: { id: string }[] };
      expect(line.map(({ id }) => id)).toEqual(["theirs-1", "ours-2", "theirs-3"]);
    });
    await first.kill("SIGINT");
    await eventWith(second, { event: "leader" });
    await second.kill("SIGINT");
    await third.waitFor("theirs-3", 10_000);
  });
});
