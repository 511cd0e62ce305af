import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Stop } from "../../src/cli/stop.ts";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import { Member } from "../../src/member/member.ts";
import { eventually } from "../support/eventually.ts";
import { execute } from "./succession.ts";

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

describe("steering from the command line", () => {
  const steer = (...args: string[]) => execute([...args, "--endpoints", server.endpoint]);

  test("handover, pause and resume say who leads, by text and by JSON, and refusals exit with 1", async () => {
    const election = "/cli";
    const odd = "c \x1b[31m";
    const members: Member[] = [];
    for (const id of ["a", "b", odd]) members.push(await Member.join({ etcd, election, id }));
    const allStand = async (): Promise<void> => {
      for (const prefix of ["/cli/", "_succession/v1/%2Fcli/members/"]) {
        const { count } = await etcd.range(prefix, { prefix: true, countOnly: true });
        expect(count).toBe(3n);
      }
    };
    await eventually(allStand);
    const first = await steer("handover", election, "--to", odd, "--by", "Ann");
    expect(first).toMatchObject({ code: 0, stderr: "" });
    expect(first.stdout).toMatch(
      /^c \\u\{1b\}\[31m leads \/cli now, after a: token \d+ -> \d+, .*\npassed over, and back at the end of the line: b$/,
    );
    await eventually(allStand);
    const second = await steer("switchover", election, "--json");
    expect(JSON.parse(second.stdout)).toMatchObject({
      ...{ event: "handover", election, from: odd, accepted: true, passed: [], asked: null },
    });
    expect(second.code).toBe(0);
    const paused = await steer("pause", election, "--reason", "upgrade \x1b", "--for", "2h", "--by", "Ann");
    expect(paused).toMatchObject({ code: 0, stderr: "" });
    expect(paused.stdout).toMatch(/^\/cli is paused for 2 h: upgrade \\u\{1b\}; \w leads, token \d+$/);
    const again = await steer("pause", election, "--reason", "other");
    expect(again).toMatchObject({ code: 1, stdout: "" });
    expect(again.stderr).toMatch(/^succession pause: paused already: "upgrade \\u001b", since .*, by Ann$/);
    const refused = await steer("handover", election);
    expect(refused).toMatchObject({ code: 1, stdout: "" });
    expect(refused.stderr).toMatch(/^succession handover: changes of leader are paused: /);
    const resumed = await steer("resume", election, "--json");
    expect(JSON.parse(resumed.stdout)).toMatchObject({
      ...{ event: "resumed", election, ended: { reason: "upgrade \x1b", by: "Ann" } },
    });
    expect((await steer("resume", election)).stdout).toMatch(/^\/cli was not paused; \w leads, token \d+$/);
    await Promise.all(members.map((member) => member.leave()));
    const nobody = await steer("handover", election);
    expect(nobody).toEqual({ code: 1, stdout: "", stderr: "succession handover: nobody leads" });
  });
});

test.each([
  ["pause", "/cli", "--reason", "upgrade"],
  ["handover", "/cli"],
  ["status", "/cli"],
  ["doctor", "/cli"],
])("%s that is told to stop before it is done is not done: exit code 1", async (...args) => {
  const stop = new Stop();
  stop.handOver();
  const ended = execute([...args, "--endpoints", "127.0.0.1:1"], {}, stop);
  stop.request();
  const stderr = `succession ${args[0]}: told to stop before it was done`;
  expect(await ended).toEqual({ code: 1, stdout: "", stderr });
});

describe.concurrent("wrong usage of steering is named, with exit code 2", () => {
  test.each<[string, readonly string[], RegExp]>([
    ["no election", ["handover"], /ELECTION is missing; usage: succession handover ELECTION/],
    ["no reason", ["pause", "/x"], /--reason is missing; usage: succession pause/],
    [
      "no length",
      ["pause", "/x", "--reason", "r", "--for", "soon"],
      /--for must be a duration .* got "soon"/,
    ],
    ["a length of 0", ["pause", "/x", "--reason", "r", "--for", "0s"], /--for must be a duration/],
    ["no wait", ["handover", "/x", "--wait", "0"], /--wait must be a number of seconds above 0/],
    ["a trailing /", ["resume", "/x/"], /ELECTION must be a name without a trailing \//],
  ])("%s", async (_title, args, says) => {
    const { code, stdout, stderr } = await execute(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(says);
  });
});
