import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { childIds, isAlive } from "../../src/supervisor/process-table.ts";
import { cleanEnv, main } from "../cli/succession.ts";
import { eventually } from "../support/eventually.ts";
import { Child } from "../support/processes.ts";
import { descendants, type RunOptions, runEvent, runEvents, startRun } from "./programs.ts";
import { containments } from "./stage.ts";

const timeoutMs = 180_000;
const slow = { timeoutMs: 60_000 };
let server: DevServer;
let elections = 0;

beforeAll(async () => {
  server = await DevServer.start();
});
afterAll(() => server.close());

const fresh = (): string => `/run-${++elections}`;
const start = (script: string, options: Partial<RunOptions> & { election?: string } = {}): Child =>
  startRun(options.election ?? fresh(), ["/bin/sh", "-c", script], { endpoint: server.endpoint, ...options });
const never = ["--restart", "never"];

describe.each(containments)("a program contained by %s", (containment) => {
  const flags = ["--containment", containment, ...never];

  test(
    "reads and writes as if it ran alone, and its reader may be slow",
    async () => {
      // A descriptor that does not block would break the writer while the reader does not read.
      const run = `"$0" "$@" run ${fresh()} --endpoints ${server.endpoint} ${flags.join(" ")} -- cat`;
      const script = `seq 1 200000 | ${run} | { sleep 1; cat; } | cksum; seq 1 200000 | cksum`;
      const child = Child.start({
        command: "/bin/sh",
        args: ["-c", script, process.execPath, main],
        env: cleanEnv(),
      });
      await child.exit;
      expect(child.lines).toHaveLength(2);
      expect(child.lines[0]).toBe(child.lines[1]);
    },
    timeoutMs,
  );

  test(
    "ends the supervisor with its own code, or 128 and the number of the signal that killed it",
    async () => {
      const ends = ["exit 7", "exit 0", "kill -KILL $$"].map((script) => start(script, { flags }).exit);
      expect((await Promise.all(ends)).map(({ code }) => code)).toEqual([7, 0, 137]);
    },
    timeoutMs,
  );

  test(
    "is told its term, gets signals passed on, and is stopped with time to do so",
    async () => {
      const script = [
        'for name in HUP USR1 USR2 WINCH; do trap "echo got $name" $name; done',
        "trap 'echo stopping; exit 5' TERM",
        'echo "$SUCCESSION_ROLE $SUCCESSION_ELECTION $SUCCESSION_ID $SUCCESSION_TOKEN"',
        "while :; do sleep 0.05; done",
      ].join("\n");
      const election = fresh();
      const child = start(script, { flags: [...flags, "--id", "a:1"], election });
      const { token } = await runEvent(child, "leader");
      expect(await child.waitFor("leader", 60_000)).toBe(`leader ${election} a:1 ${token}`);
      for (const name of ["HUP", "USR1", "USR2", "WINCH"]) {
        child.signal(`SIG${name}` as NodeJS.Signals);
        await child.waitFor(`got ${name}`, 60_000);
      }
      child.signal("SIGTERM");
      expect(await child.exit).toEqual({ code: 5, signal: null });
      expect(child.lines.at(-1)).toBe("stopping");
    },
    timeoutMs,
  );

  test(
    "is killed after its grace time, and at once by a second signal",
    async () => {
      const script = "trap '' TERM INT; echo begun; while :; do sleep 0.05; done";
      const [patient, hasty] = [
        start(script, { flags: [...flags, "--grace", "0.5"] }),
        start(script, { flags: [...flags, "--ttl", "60", "--grace", "20"] }),
      ];
      await Promise.all([patient.waitFor("begun", 60_000), hasty.waitFor("begun", 60_000)]);
      patient.signal("SIGTERM");
      hasty.signal("SIGINT");
      await runEvent(hasty, "stopping");
      // So soon, it would count as the same key press.
      await eventually(() => {
        hasty.signal("SIGINT");
        expect(hasty.ended).toBeDefined();
      }, slow);
      expect((await patient.exit).code).toBe(137);
      expect((await hasty.exit).code).toBe(137);
    },
    timeoutMs,
  );

  test(
    "that dies leaves nothing behind, and the next in line leads",
    async () => {
      const election = fresh();
      const script = "setsid sleep 1000 & sleep 1000 & echo begun; wait";
      const [a, b] = [
        start(script, { flags: [...flags, "--id", "a"], election }),
        start(script, { flags: [...flags, "--id", "b"], election }),
      ];
      const first = await Promise.race([
        a.waitFor("begun", 60_000).then(() => a),
        b.waitFor("begun", 60_000).then(() => b),
      ]);
      const second = first === a ? b : a;
      await runEvent(second, "standby");
      // A forked shell is called "sleep" only once it has become one.
      const sleepers = await eventually(() => {
        const found = descendants(first.pid).filter(({ name }) => name === "sleep");
        expect(found).toHaveLength(2);
        return found;
      }, slow);
      // The shim is the first child.
      for (const pid of childIds(first.pid).slice(1)) process.kill(pid, "SIGKILL");
      await second.waitFor("begun", 60_000);
      expect(sleepers.filter(isAlive)).toEqual([]);
      expect((await first.exit).code).toBe(137);
      await second.kill("SIGTERM");
    },
    timeoutMs,
  );

  test(
    "is killed at once when etcd has lost the leader's key",
    async () => {
      const election = fresh();
      const script = "trap '' TERM; echo begun; while :; do sleep 0.05; done";
      const child = start(script, { flags: ["--containment", containment], election });
      await child.waitFor("begun", 60_000);
      const from = child.lines.length;
      server.store.deleteRange({ key: Buffer.from(`${election}/`), rangeEnd: Buffer.from(`${election}0`) });
      expect(await runEvent(child, "killing")).toMatchObject({ cause: "key-gone" });
      await runEvent(child, "ended");
      await child.waitFor("begun", 60_000, { from });
      await child.kill("SIGTERM");
    },
    timeoutMs,
  );
});

describe("the policy of restarts", () => {
  test(
    "gives up after so many failures, stands down and says so",
    async () => {
      const child = start("exit 3", { flags: ["--restart-limit", "2"] });
      expect((await child.exit).code).toBe(1);
      expect(runEvents(child).map(({ event }) => event)).toEqual(
        expect.arrayContaining(["restart", "gave-up", "standby"]),
      );
      expect(runEvents(child).filter(({ event }) => event === "ended")).toHaveLength(2);
    },
    timeoutMs,
  );

  test(
    "on-failure ends with a program that is done, always starts it again",
    async () => {
      const done = start("exit 0");
      const again = start("exit 0", { flags: ["--restart", "always"] });
      expect((await done.exit).code).toBe(0);
      await runEvent(again, "started", 2);
      await again.kill("SIGTERM");
    },
    timeoutMs,
  );
});

describe("a second one of the same id", () => {
  test(
    "waits, saying for whom, or refuses; and takes over in the end",
    async () => {
      const election = fresh();
      const script = "echo begun; exec sleep 1000";
      const first = start(script, { flags: ["--id", "a:1", "--ttl", "3"], election });
      await first.waitFor("begun", 60_000);
      const second = start(script, { flags: ["--id", "a:1"], election });
      expect((await runEvent(second, "namesake")).message).toContain("a:1");
      const third = start(script, { flags: ["--id", "a:1", "--no-wait"], election });
      expect((await third.exit).code).toBe(1);
      expect(third.stderr).toMatch(/a:1 stands in \/run-\d+ already/);
      expect(second.lines).toEqual([]);
      // Its lease has to end by itself.
      await first.kill();
      await second.waitFor("begun", 60_000);
      await second.kill("SIGTERM");
    },
    timeoutMs,
  );
});

describe("the process that kills in an emergency", () => {
  test(
    "is replaced when it dies, and ends with the supervisor",
    async () => {
      const child = start("echo begun; sleep 1000", { flags: never });
      await child.waitFor("begun", 60_000);
      const [shim = 0] = childIds(child.pid);
      process.kill(shim, "SIGKILL");
      await runEvent(child, "shim-lost");
      await eventually(() => {
        const { pid } = descendants(child.pid).find(({ command }) => command.includes("shim-process")) ?? {};
        expect(pid).toBeDefined();
        expect(pid).not.toBe(shim);
      }, slow);
      const all = descendants(child.pid);
      expect(all.map(({ name }) => name)).toContain("sleep");
      await child.kill();
      await eventually(() => expect(all.filter(isAlive)).toEqual([]), slow);
    },
    timeoutMs,
  );
});
