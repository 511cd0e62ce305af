import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { eventually } from "../support/eventually.ts";
import { Child } from "../support/processes.ts";

const folder = new URL("../../examples/", import.meta.url).pathname;

describe("the example", () => {
  let server: DevServer;
  beforeAll(async () => {
    server = await DevServer.start();
  });
  afterAll(() => server.close());

  const start = (name: string, ...args: string[]): Child =>
    Child.start({
      args: [`${folder}${name}`, ...args],
      env: { ...process.env, SUCCESSION_ENDPOINTS: server.endpoint },
    });

  const stop = async (child: Child): Promise<void> => {
    child.signal("SIGTERM");
    expect(await child.exit).toEqual({ code: 0, signal: null });
    expect(child.stderr).toBe("");
  };

  test("hello answers from the leader alone, and the next one takes over", async () => {
    const ask = async (child: Child): Promise<[number, string]> => {
      const url = (await child.waitFor("http://", 20_000)).replace(/^.*: /, "");
      const answer = await fetch(url, { headers: { connection: "close" } });
      return [answer.status, await answer.text()];
    };
    const a = start("hello.mjs", "a");
    await a.waitFor("leading", 20_000);
    const b = start("hello.mjs", "b");
    expect(await ask(a)).toEqual([200, "hello from a\n"]);
    expect(await ask(b)).toEqual([503, "b stands by for a\n"]);
    await stop(a);
    expect(a.lines.at(-1)).toBe("a: led until: resigned");
    await b.waitFor("leading", 15_000);
    expect(await ask(b)).toEqual([200, "hello from b\n"]);
    await stop(b);
  });

  test.each([
    ["member", "member"],
    ["session", "session"],
    ["member", "session"],
  ])(
    "channel-style tells master and slave, by %s and by %s, and comes back after a loss",
    async (first, second) => {
      const a = start("channel-style.mjs", first, "a");
      await a.waitFor("a: master", 20_000);
      const b = start("channel-style.mjs", second, "b");
      await b.waitFor("b: slave of a", 20_000);
      expect(b.stdout).not.toContain("master");
      const range = { key: Buffer.from("/channel/"), rangeEnd: Buffer.from("/channel0") };
      await eventually(() => expect(server.store.range(range).kvs).toHaveLength(2));
      const [from, fromB] = [a.lines.length, b.lines.length];
      server.store.deleteRange(range);
      await Promise.race([
        a.waitFor("a: master", 5_000, { from }),
        b.waitFor("b: master", 5_000, { from: fromB }),
      ]);
      await eventually(() => expect(server.store.range(range).kvs).toHaveLength(2));
      await stop(a);
      await b.waitFor("b: master", 5_000, { from: fromB });
      await stop(b);
      expect(server.store.range(range).kvs).toEqual([]);
    },
  );

  test("failover.test tests a service of a user's own", async () => {
    const child = Child.start({ args: ["--test", `${folder}failover.test.mjs`] });
    expect(await child.exit).toEqual({ code: 0, signal: null });
    expect(child.stdout).toMatch(/^[#ℹ] pass 2$/m);
  });

  test("mutex lets one in after the other", async () => {
    const children = [start("mutex.mjs"), start("mutex.mjs")];
    for (const child of children) expect(await child.exit).toEqual({ code: 0, signal: null });
    const tokens = children.map((child) => Number(/token (\d+)/.exec(child.stdout)?.[1]));
    expect(new Set(tokens).size).toBe(2);
    expect(children.map(({ lines }) => lines.at(-1))).toEqual(["done", "done"]);
  });
});
