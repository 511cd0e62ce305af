import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseArguments } from "../../src/cli/arguments.ts";
import type { Command, Context } from "../../src/cli/command.ts";
import { history } from "../../src/cli/history.ts";
import type { Output } from "../../src/cli/output.ts";
import { status } from "../../src/cli/status.ts";
import { type Stop, Stopped } from "../../src/cli/stop.ts";
import { watch } from "../../src/cli/watch.ts";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import { silentLogger } from "../../src/log.ts";
import { Member } from "../../src/member/member.ts";
import { pause, resume } from "../../src/steering/pause.ts";
import { eventually } from "../support/eventually.ts";
import { Child } from "../support/processes.ts";
import { cleanEnv, main } from "./succession.ts";

const odd = 'b "x" \n\x1b[31m 東京 👍';

let server: DevServer;
let etcd: Etcd;

beforeAll(async () => {
  server = await DevServer.start();
  etcd = new Etcd({ endpoints: [server.endpoint] });
});

afterAll(async () => {
  await etcd.close();
  await server.close();
});

/** A command in this process, on no terminal. */
function start(command: Command, args: readonly string[]) {
  const printed: string[] = [];
  const said: string[] = [];
  const stop = new AbortController();
  const output = {
    looks: { live: false, colour: false, unicode: true, columns: 80, rows: 24 },
    print: (line: string) => printed.push(...line.split("\n")),
    json: (value: object) =>
      printed.push(JSON.stringify(value, (_key, each) => (typeof each === "bigint" ? Number(each) : each))),
    say: (line: string) => said.push(line),
  };
  const context = {
    arguments: parseArguments([...args, "--endpoints", server.endpoint], command),
    ...{ env: {}, output: output as unknown as Output, logger: silentLogger },
    stop: { signal: stop.signal } as unknown as Stop,
  } satisfies Context;
  const code = command.run(context).catch((error: unknown) => {
    if (error instanceof Stopped) return 0;
    throw error;
  });
  return { printed, said, code, stop: () => stop.abort(new Stopped()) };
}

async function run(command: Command, ...args: string[]) {
  const { printed, said, code } = start(command, args);
  return { code: await code, printed, said };
}

const join = (election: string, id: string): Promise<Member> =>
  Member.join({ etcd, election, id, ttlSeconds: 30, worker: false });

/** On a machine that is busy with other things. */
const patiently = { timeoutMs: 20_000 };

describe("status and history", () => {
  test("of several elections, with odd ids and strangers, are told as text and as JSON", async () => {
    const members = [await join("/see 1", "a"), await join("/see 1", odd), await join("/see 2", odd)];
    const { ID: lease } = await etcd.leaseGrant(60);
    await etcd.put(`/see 1/${lease.toString(16)}`, "go", { lease });
    await eventually(async () => {
      const { printed, said, code } = await run(status, "/see 1", "/see 2", "/nobody");
      expect({ said, code }).toEqual({ said: [], code: 0 });
      expect(printed[0]).toMatch(/^\/see 1: a leads since \d{4}.*, 2 in line behind$/);
      expect(printed[3]).toMatch(/^ {2}2 {2}standby {2}b "x" \\u\{a\}\\u\{1b\}\[31m 東京 👍 {2}\d+\/30 s/);
      expect(printed[4]).toMatch(/^ {2}3 {2}standby {2}go +\d+\/60 s +\d+ +[\da-f]+ +- +-$/);
      expect(printed[6]).toMatch(/^\/see 2: b "x" .* leads/);
      expect(printed.at(-1)).toBe("/nobody: nobody leads, and nobody stands in line");
    }, patiently);
    const all = await run(status, "--json");
    expect(all.printed.map((line) => JSON.parse(line))).toMatchObject([
      { election: "/see 1", leader: { id: "a" }, line: [{}, { id: odd }, { id: "go", member: false }] },
      { election: "/see 2", leader: { id: odd } },
    ]);
    await members[0]?.leave();
    await eventually(() => expect(members[1]?.role).toBe("leader"));
    const limited = await run(history, "/see 1", "--limit", "1");
    expect(limited.printed).toHaveLength(2);
    expect(limited.printed[1]).toMatch(/^ {2}\d+ +b "x" \\u\{a\}\\u\{1b\}\[31m 東京 👍 .* leads/);
    await eventually(async () => {
      const { printed } = await run(history, "/see 1", "--json");
      expect(printed.map((line) => JSON.parse(line))).toMatchObject([
        { election: "/see 1", leader: odd, cause: null, leads: true, gapMs: expect.any(Number) },
        { leader: "a", cause: "resigned", leads: false, endedAt: expect.stringMatching(/Z$/) },
      ]);
    }, patiently);
    expect(await run(history, "/none")).toEqual({
      code: 0,
      printed: [],
      said: ["no term of /none is recorded"],
    });
    await Promise.all(members.map((member) => member.leave()));
  });
});

describe("watch", () => {
  test("prints an event a line, of several elections", async () => {
    const a = await join("/watched", "a");
    const text = start(watch, ["/watched", "/empty"]);
    const json = start(watch, ["/watched", "--json"]);
    await eventually(() => expect([...text.printed, ...json.printed]).toHaveLength(3), patiently);
    const b = await join("/watched", odd);
    await eventually(() => expect(b.line).toHaveLength(2));
    await pause(etcd, "/watched", { reason: odd, by: "Ann" });
    await resume(etcd, "/watched");
    await a.leave();
    await eventually(() => {
      const events = json.printed.map((line) => JSON.parse(line));
      const names = ["observed", "candidate", "paused", "resumed", "left", "leader", "ended"];
      expect(events.map(({ event }) => event)).toEqual(expect.arrayContaining(names));
      const leads = events.find(({ event }) => event === "leader");
      expect(leads).toMatchObject({
        election: "/watched",
        id: odd,
        leader: odd,
        token: Number(b.term?.token),
      });
      expect(events.find(({ event }) => event === "ended")).toMatchObject({ id: "a", cause: "resigned" });
    }, patiently);
    const lines = text.printed.map((line) => line.replace(/^\d\d:\d\d:\d\d {2}/, ""));
    expect(lines).toContain("/empty  nobody leads");
    expect(lines).toContain('/watched  paused by Ann: b "x" \\u{a}\\u{1b}[31m 東京 👍');
    text.stop();
    json.stop();
    expect(await Promise.all([text.code, json.code])).toEqual([0, 0]);
    await b.leave();
  });

  test("takes the whole screen of a terminal, and gives it back", async () => {
    const member = await join("/screen", odd);
    // A shell that stays in front of the command would take the key for its own end, as dash does.
    const command = `exec ${process.execPath} ${main} watch /screen --endpoints ${server.endpoint}`;
    const env = { ...cleanEnv(), LANG: "C.UTF-8", TERM: "xterm-256color" };
    await using terminal = Child.start({
      ...{ command: "script", args: ["-qefc", command, "/dev/null"], env, keepInputOpen: true },
    });
    const drawn = (): void => expect(terminal.stdout).toMatch(/leader .*b "x" \\u\{a\}\\u\{1b\}\[31m/);
    await eventually(drawn, patiently);
    expect(terminal.stdout).toContain("\x1b[?1049h");
    expect(terminal.stdout).not.toContain("\x1b[?1049l");
    terminal.write("\x03");
    expect(await terminal.exit).toMatchObject({ code: 0 });
    expect(terminal.stdout.split("\x1b[?1049l")).toHaveLength(2);
    // After that the cursor comes back, and nothing else.
    expect(terminal.stdout.split("\x1b[?1049l")[1]?.trim()).toBe("\x1b[?25h");
    await member.leave();
  });
});
