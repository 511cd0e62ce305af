import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { eventually } from "../support/eventually.ts";
import { Child } from "../support/processes.ts";
import { runEvent, runEvents, startRun } from "./programs.ts";

const timeoutMs = 180_000;
const slow = { timeoutMs: 60_000 };
const examples = fileURLToPath(new URL("../../examples/run/", import.meta.url));
const works = (command: string, ...args: string[]): boolean => spawnSync(command, args).status === 0;
let server: DevServer;
let folder: string;

beforeAll(async () => {
  server = await DevServer.start();
  folder = mkdtempSync(join(tmpdir(), "succession-announced-"));
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

const start = (election: string, script: string, flags: readonly string[]): Child =>
  startRun(election, ["/bin/sh", "-c", script], { endpoint: server.endpoint, flags });
const lines = (file: string): string[] => {
  try {
    return readFileSync(file, "utf8").trim().split("\n");
  } catch {
    return [];
  }
};
const idle = "echo begun; exec sleep 1000";

interface Client {
  readonly name: string;
  readonly command: readonly string[];
}
const clients: readonly Client[] = [
  { name: "shell", command: works("curl", "--version") ? [join(examples, "role.sh")] : [] },
  { name: "Python", command: works("python3", "--version") ? ["python3", join(examples, "role.py")] : [] },
  { name: "Go", command: works("go", "version") ? ["go", "run", join(examples, "role.go")] : [] },
];
const usable = clients.filter(({ command }) => command.length > 0);
for (const { name } of clients.filter((each) => !usable.includes(each)))
  process.stderr.write(`*** NOT TESTED HERE: the example client in ${name}\n`);

describe.concurrent("a program under succession run", () => {
  test(
    "is announced by file, signal, hooks and API, in a warm program's whole life",
    async () => {
      const own = mkdtempSync(join(folder, "warm-"));
      const [file, hooks, api] = [join(own, "role"), join(own, "hooks"), join(own, "api")];
      const hook = (name: string): string =>
        `echo "${name} $SUCCESSION_ROLE $SUCCESSION_TOKEN $SUCCESSION_LEADER $SUCCESSION_CAUSE" >>${hooks}`;
      const script = [
        `trap 'cat $SUCCESSION_ROLE_FILE' USR1 USR2`,
        'echo "$SUCCESSION_API"; while :; do sleep 0.05; done',
      ].join("\n");
      const child = start("/announced-warm", script, [
        ...["--standby", "warm", "--on-loss", "signal", "--grace", "0.2", "--id", "a", "--role-file", file],
        ...["--api", api, "--on-lead", hook("lead"), "--on-standby", hook("standby")],
      ]);
      const { token } = await runEvent(child, "leader");
      const told = JSON.parse(await child.waitFor('"leader"', 60_000));
      expect(told).toMatchObject({ role: "leader", id: "a", token, leader: "a", cause: null });
      expect(child.lines[0]).toBe(api);
      await eventually(() => expect(lines(hooks)).toHaveLength(2), slow);
      const stepDown = (): Child =>
        Child.start({
          command: "sh",
          args: [join(examples, "role.sh"), "step-down"],
          env: { ...process.env, SUCCESSION_API: api },
        });
      const alone = stepDown();
      expect((await alone.exit).code).toBe(22);
      expect(JSON.parse(alone.stdout), child.stderr).toMatchObject({
        role: "leader",
        token,
        reason: expect.stringContaining("nobody stands by"),
      });
      const next = start("/announced-warm", idle, ["--id", "b"]);
      await runEvent(next, "standby");
      const asked = stepDown();
      await asked.exit;
      expect(JSON.parse(asked.stdout)).toMatchObject({ role: "standby", cause: "handover" });
      const over = JSON.parse(await child.waitFor('"standby"', 60_000));
      expect(over).toMatchObject({ role: "standby", token: null, cause: "handover" });
      await next.waitFor("begun", 60_000);
      const ends = runEvents(child).filter(({ event, cause }) => event === "standby" && cause !== null);
      expect(ends.map(({ cause }) => cause)).toEqual(["handover"]);
      await next.kill("SIGTERM");
      await eventually(() => expect(lines(hooks)).toHaveLength(4), slow);
      await child.kill("SIGTERM");
      expect(lines(hooks).slice(0, 3)).toEqual([
        "standby standby   ",
        `lead leader ${token} a `,
        `standby standby ${token}  handover`,
      ]);
      expect(lines(hooks).at(-1)).toMatch(/^standby standby \d+ {2}resigned$/);
      expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ role: "standby", cause: "resigned" });
    },
    timeoutMs,
  );

  test.each([
    ["hang", "sleep 1000 & setsid sleep 1000 & wait"],
    ["fail", "exit 3"],
  ])(
    "whose hooks %s leads all the same, and gives the lead to the next in line",
    async (name, line) => {
      const acts = join(folder, `acts-${name}`);
      const script = `trap 'echo "$SUCCESSION_ID ends" >>${acts}; exit 0' TERM; echo "$SUCCESSION_ID begins" >>${acts}; while :; do sleep 0.05; done`;
      const sockets = ["a", "b"].map((id) => join(folder, `${name}-${id}`));
      const [a, b] = ["a", "b"].map((id, at) =>
        start(`/hooks-${name}`, script, [
          ...["--id", id, "--api", sockets[at] ?? "", "--on-lead", line, "--on-lead-timeout", "1.5"],
          ...["--on-standby", line, "--on-standby-timeout", "1.5", "--ttl", "20", "--grace", "2"],
        ]),
      ) as [Child, Child];
      await eventually(() => expect(lines(acts)).toHaveLength(1), slow);
      const [first, second, socket] = lines(acts)[0] === "a begins" ? [a, b, sockets[0]] : [b, a, sockets[1]];
      await runEvent(second, "standby");
      await runEvent(first, "hook", 2);
      // Nothing that blocks this process, in which the server is that the lead is handed over at.
      const asked = Child.start({
        command: "curl",
        args: ["-s", "-X", "POST", "--unix-socket", socket ?? "", "http://x/step-down"],
      });
      await asked.exit;
      expect(JSON.parse(asked.stdout), first.stderr).toMatchObject({ role: "standby", cause: "handover" });
      await runEvent(first, "hook", 3);
      await eventually(() => expect(lines(acts)).toHaveLength(3), slow);
      const [one, other] = first === a ? ["a", "b"] : ["b", "a"];
      expect(lines(acts)).toEqual([`${one} begins`, `${one} ends`, `${other} begins`]);
      const message = name === "hang" ? /did not end within \d+ ms and was killed/ : /ended with 3/;
      for (const event of runEvents(first).filter(({ event: each }) => each === "hook"))
        expect(event.message).toMatch(message);
      await Promise.all([first.kill("SIGTERM"), second.kill("SIGTERM")]);
    },
    timeoutMs,
  );

  test(
    "says that it stands by on the first instruction after its supervisor was stopped",
    async () => {
      const api = join(folder, "stopped");
      const child = start("/announced-stopped", idle, ["--ttl", "2", "--api", api]);
      await child.waitFor("begun", 60_000);
      await child.stop();
      const asked = Child.start({ command: "curl", args: ["-s", "--unix-socket", api, "http://x/role"] });
      // Its shim says so when the deadline has passed.
      await child.waitForError("did not act in time", 60_000);
      child.cont();
      await asked.exit;
      expect(JSON.parse(asked.stdout)).toMatchObject({ role: "standby", token: null, remainingMs: 0 });
      await child.kill("SIGTERM");
    },
    timeoutMs,
  );

  test(
    "is stopped in order though its role file cannot be written any more, and says so",
    async () => {
      const own = join(folder, "lost");
      mkdirSync(own);
      const child = start("/announced-lost", idle, ["--role-file", join(own, "role")]);
      await child.waitFor("begun", 60_000);
      rmSync(own, { recursive: true });
      child.signal("SIGTERM");
      expect((await child.exit).code).toBe(143);
      // On a busy disk that it takes too long may be said first.
      expect((await runEvent(child, "role-file")).message).toMatch(/ENOENT|not answered/);
    },
    timeoutMs,
  );

  test.each<[string, (own: string) => readonly string[], RegExp]>([
    [
      "a role file in no folder",
      (own) => ["--role-file", join(own, "no", "role")],
      /cannot write the role file .*ENOENT/,
    ],
    ["a socket where a file is", (own) => ["--api", join(own, "file")], /is no socket/],
    ["a socket that a living one has", (own) => ["--api", join(own, "taken")], /another process serves/],
  ])(
    "ends before it stands in line for %s",
    async (title, flags, message) => {
      const own = mkdtempSync(join(folder, "wrong-"));
      writeFileSync(join(own, "file"), "precious");
      const election = `/wrong-${title.length}`;
      const owner = Child.start({
        args: [
          "-e",
          `require("node:net").createServer().listen(${JSON.stringify(join(own, "taken"))}, () => console.log("on"))`,
        ],
      });
      await owner.waitFor("on", 60_000);
      const child = start(election, "echo begun", flags(own));
      expect((await child.exit).code).toBe(1);
      expect(child.stderr).toMatch(message);
      expect(child.lines).toEqual([]);
      const range = { key: Buffer.from(`${election}/`), rangeEnd: Buffer.from(`${election}0`) };
      expect(server.store.range(range).kvs).toEqual([]);
      await owner.kill();
    },
    timeoutMs,
  );
});

describe.concurrent("the example client", () => {
  test.each(usable)(
    "in $name knows the role, waits, follows and steps down, on a socket and over TCP",
    async ({ name, command: [file = "", ...args] }) => {
      for (const api of [join(folder, `client-${name}`), "127.0.0.1:0"]) {
        const secret = crypto.randomUUID();
        const child = startRun(
          `/client-${name}`,
          ["/bin/sh", "-c", 'echo "$SUCCESSION_API"; exec sleep 1000'],
          {
            endpoint: server.endpoint,
            flags: ["--api", api],
            env: { SUCCESSION_API_TOKEN: secret },
          },
        );
        const address = await child.waitFor(/[/]/, 60_000);
        const env = { ...process.env, SUCCESSION_API: address, SUCCESSION_API_TOKEN: secret };
        const ask = (...question: string[]): Child =>
          Child.start({ command: file, args: [...args, ...question], env });
        const events = ask("events");
        await events.waitFor('"leader"', 60_000);
        const role = ask("role");
        expect((await role.exit).code).toBe(0);
        expect(JSON.parse(role.stdout)).toMatchObject({ role: "leader" });
        expect((await ask("wait", "leader", "20").exit).code).toBe(0);
        expect((await ask("wait", "standby", "0.1").exit).code).not.toBe(0);
        const alone = ask("step-down");
        expect((await alone.exit).code).not.toBe(0);
        expect(alone.stdout + alone.stderr).toContain("nobody stands by");
        const next = startRun(`/client-${name}`, ["sleep", "1000"], { endpoint: server.endpoint });
        await runEvent(next, "standby");
        expect((await ask("step-down").exit).code).toBe(0);
        await events.waitFor("handover", 60_000);
        expect(child.stderr).not.toContain(secret);
        await Promise.all([child.kill("SIGTERM"), next.kill("SIGTERM")]);
        await events.exit;
      }
    },
    timeoutMs,
  );
});
