import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { WatchCreateRequestSchema } from "../../src/etcd/gen/etcd_pb.ts";
import { isAlive, type ProcessEntry, processEntry } from "../../src/supervisor/process-table.ts";
import { eventually } from "../support/eventually.ts";
import { Child } from "../support/processes.ts";
import { descendants, type RunOptions, runEvent, runEvents, startRun } from "./programs.ts";
import { containments } from "./stage.ts";

const timeoutMs = 180_000;
let server: DevServer;
let folder: string;
let elections = 0;

beforeAll(async () => {
  server = await DevServer.start();
  folder = mkdtempSync(join(tmpdir(), "succession-health-"));
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

const fresh = (): string => `/health-${++elections}`;
const start = (
  script: string,
  flags: readonly string[],
  options: Partial<RunOptions> & { election?: string } = {},
): Child =>
  startRun(options.election ?? fresh(), ["/bin/sh", "-c", script], {
    endpoint: server.endpoint,
    flags,
    ...options,
  });
const standing = (election: string): number =>
  server.store.range({ key: Buffer.from(`${election}/`), rangeEnd: Buffer.from(`${election}0`) }).kvs.length;

const quickChecks = [
  "--health-period",
  "0.1",
  "--health-timeout",
  "5",
  "--health-failures",
  "2",
  "--health-start",
  "1",
];

describe("a leader that is not well", () => {
  test(
    "is killed first, then released, and says why",
    async () => {
      const ill = join(folder, "ill");
      const election = fresh();
      const flags = [...quickChecks, "--restart", "never", "--health-cmd", `test ! -e ${ill}`];
      const child = start("trap '' TERM; echo begun; while :; do sleep 0.1; done", flags, { election });
      await child.waitFor("begun", 60_000);
      const program = processEntry((await runEvent(child, "started")).pid ?? 0) as ProcessEntry;
      const alive = whenKeyGoes(election, () => isAlive(program));
      writeFileSync(ill, "");
      expect((await child.exit).code).toBe(137);
      expect(await alive).toBe(false);
      const events = runEvents(child).map(({ event, cause }) => [event, cause]);
      expect(events.slice(events.findIndex(([event]) => event === "killing"))).toEqual([
        ["killing", "unhealthy"],
        ["standby", "unhealthy"],
        ["ended", undefined],
      ]);
    },
    timeoutMs,
  );

  test(
    "and never was is given up in bounded time",
    async () => {
      const flags = [
        ...quickChecks,
        "--health-start",
        "0.5",
        "--restart-limit",
        "2",
        "--health-cmd",
        "false",
      ];
      const child = start("sleep 1000", flags);
      expect((await child.exit).code).toBe(1);
      expect((await runEvent(child, "killing", 2)).message).toContain("unhealthy, ended with 1");
    },
    timeoutMs,
  );

  test(
    "and never was gives the lead to the next in line, and none of them ever acts beside the other",
    async () => {
      const acts = join(folder, "acts");
      const script = (name: string): string =>
        `echo ${name} >>${acts}; trap 'echo ${name} ends >>${acts}; exit' TERM; while :; do sleep 0.05; done`;
      const election = fresh();
      const never = [...quickChecks, "--id", "ill", "--restart-limit", "1000", "--health-cmd", "false"];
      const ill = start(script("ill"), never, { election });
      await runEvent(ill, "leader");
      const well = start(script("well"), [...quickChecks, "--id", "well", "--health-cmd", "true"], {
        election,
      });
      await runEvent(well, "leader");
      await well.kill("SIGTERM");
      const after = (): string[] => {
        const lines = readFileSync(acts, "utf8").split("\n");
        return lines.slice(lines.indexOf("well"), lines.indexOf("well") + 3);
      };
      await eventually(() => expect(after()).toEqual(["well", "well ends", "ill"]), { timeoutMs: 60_000 });
      await ill.kill("SIGTERM");
    },
    timeoutMs,
  );

  test(
    "because its heartbeat stopped is hung",
    async () => {
      const script = "for n in 1 2 3 4 5; do echo alive >&4; sleep 0.1; done; echo silent; exec sleep 1000";
      const child = start(script, ["--heartbeat-fd", "4", "--heartbeat-ms", "3000", "--restart", "never"]);
      await child.waitFor("silent", 60_000);
      expect(await runEvent(child, "killing")).toMatchObject({ cause: "hung" });
      expect((await child.exit).code).toBe(137);
    },
    timeoutMs,
  );
});

describe("a warm program", () => {
  const warm = ["--standby", "warm"];
  const script = [
    "trap 'echo leader' USR1; trap 'echo standby' USR2",
    'echo "begun as $SUCCESSION_ROLE"; while :; do sleep 0.05; done',
  ].join("\n");

  test(
    "runs always, is told that it leads, and is replaced by a fresh one when it loses",
    async () => {
      const election = fresh();
      const a = start(script, [...warm, "--id", "a"], { election });
      await a.waitFor("leader", 60_000);
      const b = start(script, [...warm, "--id", "b"], { election });
      await runEvent(b, "standby");
      expect(b.lines).toEqual(["begun as standby"]);
      server.store.deleteRange({ key: Buffer.from(keyOf(election, "a")) });
      await b.waitFor("leader", 60_000);
      await eventually(() => expect(a.lines).toEqual(["begun as standby", "leader", "begun as standby"]), {
        timeoutMs: 60_000,
      });
      b.signal("SIGTERM");
      await a.waitFor("leader", 60_000, { from: 2 });
      // It has a handler for none of the signals that end it.
      expect((await b.exit).code).toBe(143);
      await a.kill("SIGTERM");
    },
    timeoutMs,
  );

  test(
    "goes on after a loss where that is asked for, and is told",
    async () => {
      const election = fresh();
      const child = start(script, [...warm, "--on-loss", "signal", "--id", "a"], { election });
      await child.waitFor("leader", 60_000);
      server.store.deleteRange({ key: Buffer.from(keyOf(election, "a")) });
      await child.waitFor("standby", 60_000, { from: 1 });
      await child.waitFor("leader", 60_000, { from: 3 });
      expect(child.lines).toEqual(["begun as standby", "leader", "standby", "leader"]);
      await child.kill("SIGTERM");
    },
    timeoutMs,
  );

  test(
    "that is not well leaves the line until it is",
    async () => {
      const election = fresh();
      const ill = join(folder, "ill-standby");
      const first = start(script, warm, { election });
      await first.waitFor("leader", 60_000);
      const socket = join(folder, "ill-socket");
      const checked = [...quickChecks, "--health-cmd", `test ! -e ${ill}`, "--api", socket];
      const second = start(script, [...warm, ...checked], { election });
      await runEvent(second, "standby");
      writeFileSync(ill, "");
      await runEvent(second, "unwell");
      await eventually(() => expect(standing(election)).toBe(1), { timeoutMs: 60_000 });
      const url = "http://x/health";
      const asked = Child.start({ command: "curl", args: ["-s", "--unix-socket", socket, url] });
      await asked.exit;
      const reason = "out of the line until the program runs and is well";
      expect(JSON.parse(asked.stdout)).toMatchObject({ ok: false, reason });
      rmSync(ill);
      await runEvent(second, "well");
      await eventually(() => expect(standing(election)).toBe(2), { timeoutMs: 60_000 });
      expect(second.lines).toEqual(["begun as standby"]);
      await Promise.all([first.kill("SIGTERM"), second.kill("SIGTERM")]);
    },
    timeoutMs,
  );

  test.each(containments)(
    "that dies takes with it what it has detached before its key goes; contained by %s",
    async (containment) => {
      const election = fresh();
      const detach = "for n in 1 2 3 4 5 6 7 8 9 10; do setsid sleep 1000 & done; echo leader";
      const child = start(
        `trap '${detach}' USR1; while :; do sleep 0.05; done`,
        [...warm, "--containment", containment, "--restart", "never"],
        { election },
      );
      await child.waitFor("leader", 60_000);
      const detached = await eventually(
        () => {
          const found = descendants(child.pid).filter(({ command }) => command.startsWith("sleep 1000"));
          expect(found).toHaveLength(10);
          return found;
        },
        { timeoutMs: 60_000 },
      );
      const alive = whenKeyGoes(election, () => detached.filter(isAlive));
      const { pid = 0 } = await runEvent(child, "started");
      process.kill(pid, "SIGKILL");
      expect(await alive).toEqual([]);
      expect((await child.exit).code).toBe(137);
    },
    timeoutMs,
  );

  test(
    "that dies while it leads is followed at once, and started again",
    async () => {
      const election = fresh();
      const a = start(`${script}`, [...warm, "--id", "a"], { election });
      await a.waitFor("leader", 60_000);
      const b = start(script, [...warm, "--id", "b"], { election });
      await runEvent(b, "standby");
      const { pid = 0 } = await runEvent(a, "started");
      process.kill(pid, "SIGKILL");
      await b.waitFor("leader", 60_000);
      await a.waitFor("begun as standby", 60_000, { from: 2 });
      await Promise.all([a.kill("SIGTERM"), b.kill("SIGTERM")]);
    },
    timeoutMs,
  );
});

/** What there is to see in the very turn in which a key of the election goes. */
function whenKeyGoes<T>(election: string, look: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    const stream = server.store.watch({
      send: ({ events }) => {
        if (events.length > 0) resolve(look());
      },
      end: reject,
    });
    const [key, rangeEnd] = [Buffer.from(`${election}/`), Buffer.from(`${election}0`)];
    stream.create(create(WatchCreateRequestSchema, { key, rangeEnd }));
  });
}

/** The key of the candidate of this id. */
function keyOf(election: string, id: string): string {
  const { kvs } = server.store.range({
    key: Buffer.from(`${election}/`),
    rangeEnd: Buffer.from(`${election}0`),
  });
  const found = kvs.find(({ value }) => Buffer.from(value).toString() === id);
  return Buffer.from(found?.key ?? []).toString();
}
