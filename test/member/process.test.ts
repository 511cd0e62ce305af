import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { freePorts } from "../support/free-ports.ts";
import { Child } from "../support/processes.ts";

/** The package as built, by its own name. */
const cwd = new URL("../..", import.meta.url).pathname;

/** Runs a program with `join(options)`, `say(text)` and a logger that prints messages, in a process of its own. */
function run(endpoint: string, program: string): Child {
  const preamble = `
    import { Member } from "succession";
    const say = (text) => process.stdout.write(text + "\\n");
    const print = (level) => (_fields, message) => say(level + ": " + message);
    const logger = { debug: () => {}, info: () => {}, warn: print("warn"), error: print("error") };
    const join = (options) =>
      Member.join({ endpoints: [process.env.ENDPOINT], election: "/process", id: "a", ttlSeconds: 2, logger, ...options });
  `;
  const args = ["--input-type=module", "-e", preamble + program];
  return Child.start({ args, cwd, env: { ...process.env, ENDPOINT: endpoint } });
}

describe("a member's process", () => {
  let server: DevServer;
  beforeAll(async () => {
    server = await DevServer.start();
  });
  afterAll(() => server.close());

  test("ends by itself after leave", async () => {
    const child = run(server.endpoint, `const member = await join(); await member.leave(); say("left");`);
    expect(await child.exit).toEqual({ code: 0, signal: null });
    expect(child.lines).toEqual(["left"]);
  });

  test("ends by itself after a join that was rejected", async () => {
    const [port] = await freePorts(1);
    const child = run(
      `127.0.0.1:${port}`,
      `
      const code = (error) => say(error.code ?? error.message);
      await join({ timeoutMs: 100 }).catch(code);
      await join({ signal: AbortSignal.timeout(100) }).catch((error) => say(error.name));
      await join({ id: "" }).catch(code);
      say("end");
      `,
    );
    expect(await child.exit).toEqual({ code: 0, signal: null });
    expect(child.lines).toEqual(["TIMEOUT", "TimeoutError", "BAD_OPTION", "end"]);
  });

  test("ends by itself after leave when etcd is gone", async () => {
    const own = await DevServer.start();
    const child = run(
      own.endpoint,
      `const member = await join(); say("joined"); process.once("SIGTERM", () => member.leave());`,
    );
    await child.waitFor("joined", 20_000);
    await own.close();
    child.signal("SIGTERM");
    expect(await child.exit).toEqual({ code: 0, signal: null });
    expect(child.stdout).toContain("warn: left before everything had stopped");
  });

  test("exits with 1 after a loss where onLost asks for it", async () => {
    const child = run(
      server.endpoint,
      `const member = await join({ election: "/lost", onLost: "exit" }); say("joined");`,
    );
    await child.waitFor("joined", 20_000);
    server.store.deleteRange({ key: Buffer.from("/lost/"), rangeEnd: Buffer.from("/lost0") });
    expect(await child.exit).toEqual({ code: 1, signal: null });
    expect(child.stdout).toContain("error: lost against our will");
    expect(server.store.range({ key: Buffer.from("/lost/"), rangeEnd: Buffer.from("/lost0") }).kvs).toEqual(
      [],
    );
  });

  test.each([
    ["exits with 1", "exit"],
    ["goes on and says so", "report"],
  ])("%s when the work still runs at the deadline, with onOverrun %s", async (_title, onOverrun) => {
    const own = await DevServer.start();
    const child = run(
      own.endpoint,
      `await join({ onOverrun: ${JSON.stringify(onOverrun)}, lead: () => { say("lead"); return new Promise(() => {}); } });`,
    );
    await child.waitFor("lead", 20_000);
    await own.close();
    await child.waitFor("error: the work still runs when it must not", 15_000);
    if (onOverrun === "exit") expect(await child.exit).toEqual({ code: 1, signal: null });
    else expect(child.ended).toBeUndefined();
    await child.kill();
  });

  test("that is stopped for longer than its TTL says standby on its first instruction", async () => {
    const child = run(
      server.endpoint,
      `
      const look = (before, term) => {
        const now = performance.now();
        if (now - before > 1_750) say("after " + [member.role, term.remainingMs]);
        setImmediate(look, now, term);
      };
      const lead = (term) => {
        look(performance.now(), term);
        say("leads");
        return new Promise((stop) => term.signal.addEventListener("abort", stop));
      };
      const member = await join({ election: "/stopped", lead });
      `,
    );
    await child.waitFor("leads", 20_000);
    await child.stop();
    await new Promise((resolve) => setTimeout(resolve, 2_200));
    child.cont();
    expect(await child.waitFor("after", 15_000)).toBe("after standby,0");
    await child.kill();
  });
});
