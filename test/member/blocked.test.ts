import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Member } from "../../src/member/member.ts";
import type { MemberSettings } from "../../src/member/options.ts";
import { eventually } from "../support/eventually.ts";
import { Child } from "../support/processes.ts";

/** The package as built, by its own name. */
const cwd = new URL("../..", import.meta.url).pathname;

/**
 * A member in a process of its own that leads, and is then blocked for `ms` when it reads a line with that number. What
 * it says after that, it says on the first instruction.
 */
const program = `
  import { writeSync } from "node:fs";
  import { createInterface } from "node:readline";
  import { Member } from "succession";
  const now = () => Number(process.hrtime.bigint()) / 1e6;
  const say = (text) => writeSync(1, text + "\\n");
  const print = (level) => (_fields, message) => say(level + ": " + message);
  const logger = { debug: print("debug"), info: () => {}, warn: print("warn"), error: print("error") };
  const { ENDPOINT, OPTIONS } = process.env;
  const lead = (term) => new Promise((stop) => {
    say("leads " + term.token);
    term.signal.addEventListener("abort", stop);
  });
  const member = await Member.join({ endpoints: [ENDPOINT], id: "a", ttlSeconds: 2, logger, lead, ...JSON.parse(OPTIONS) });
  createInterface({ input: process.stdin }).on("line", (line) => {
    if (line === "leave") return void member.leave().then(() => process.stdin.destroy());
    const until = now() + Number(line);
    say("blocked");
    // As blocked as by a calculation, without taking the processor from the other tests.
    const idle = new Int32Array(new SharedArrayBuffer(4));
    while (now() < until) {
      if (process.env.ACTS) say("acts " + now());
      Atomics.wait(idle, 0, 0, Math.min(2, until - now()));
    }
    say("awake " + member.role + " " + ((member.term?.remainingMs ?? 0) > 0));
  });
  void (async () => {
    for await (const { role, cause } of member.changes()) say("is " + role + " " + (cause ?? ""));
  })();
`;

const now = (): number => Number(process.hrtime.bigint()) / 1e6;

describe.concurrent("a member whose event loop is blocked", () => {
  let server: DevServer;
  let elections = 0;
  beforeAll(async () => {
    server = await DevServer.start();
  });
  afterAll(() => server.close());

  /** A leader in a process of its own. */
  async function leader(
    options: Partial<MemberSettings> = {},
    env: object = {},
  ): Promise<{ child: Child; election: string }> {
    const election = `/blocked/${++elections}`;
    const child = Child.start({
      args: ["--input-type=module", "-e", program],
      cwd,
      keepInputOpen: true,
      env: {
        ...process.env,
        ...env,
        ENDPOINT: server.endpoint,
        OPTIONS: JSON.stringify({ election, ...options }),
      },
    });
    await child.waitFor(/^leads/, 20_000);
    const threads = options.worker !== false && !("NODE_OPTIONS" in env);
    if (threads) await child.waitFor("the renewal thread renews", 20_000);
    return { child, election };
  }

  function standby(election: string): Promise<Member> {
    return Member.join({ endpoints: [server.endpoint], election, id: "b", ttlSeconds: 2 });
  }

  const range = (election: string): { key: Buffer; rangeEnd: Buffer } => ({
    key: Buffer.from(`${election}/`),
    rangeEnd: Buffer.from(`${election}0`),
  });

  test("for less than its TTL keeps the lead", async () => {
    // Longer than a lease lasts that was renewed a third of the TTL before, and short of the TTL by what a busy machine takes.
    const { child, election } = await leader({ ttlSeconds: 4 });
    const b = await standby(election);
    for (let round = 0; round < 2; round++) {
      const from = child.lines.length;
      child.write("3300\n");
      expect(await child.waitFor(/^awake/, 15_000, { from })).toBe("awake leader true");
    }
    expect(b.role).toBe("standby");
    expect(child.lines.filter((line) => line.startsWith("leads"))).toHaveLength(1);
    await child.kill();
    await b.leave();
  });

  test("without the thread loses it to the deadline, and knows on its first instruction", async () => {
    const { child } = await leader({ worker: false });
    child.write("2100\n");
    expect(await child.waitFor(/^awake/, 10_000)).toBe("awake standby false");
    await child.waitFor("is standby deadline", 10_000);
    await child.kill();
  });

  test("is kept leader no longer than hangAfterMs, and knows on its first instruction", async () => {
    const { child, election } = await leader({ hangAfterMs: 500 });
    const b = await standby(election);
    child.write("6000\n");
    await child.waitFor("blocked", 5_000);
    await eventually(() => expect(b.role).toBe("leader"));
    expect(child.lines.some((line) => line.startsWith("awake"))).toBe(false);
    expect(await child.waitFor(/^awake/, 15_000)).toBe("awake standby false");
    await child.waitFor("is standby hung", 10_000);
    // And it comes back by itself.
    await eventually(() => expect(b.line.map(({ id }) => id)).toEqual(["b", "a"]));
    await child.kill();
    await b.leave();
  });

  test("knows on its first instruction that its lease was revoked meanwhile", async () => {
    const { child, election } = await leader();
    child.write("1800\n");
    await child.waitFor("blocked", 5_000);
    const lease = server.store.range(range(election)).kvs[0]?.lease ?? 0n;
    server.store.leaseRevoke({ ID: lease });
    expect(await child.waitFor(/^awake/, 10_000)).toBe("awake standby false");
    // The key goes with the lease; which is found first is chance.
    await child.waitFor(/^is standby (lease|key)-gone/, 10_000);
    await child.kill();
  });

  test("knows on its first instruction that its key was deleted meanwhile", async () => {
    const { child, election } = await leader();
    child.write("1800\n");
    await child.waitFor("blocked", 5_000);
    server.store.deleteRange(range(election));
    expect(await child.waitFor(/^awake/, 10_000)).toBe("awake standby false");
    await child.waitFor("is standby key-gone", 10_000);
    await child.kill();
  });

  test("with onHang kill has ended before its successor starts", async () => {
    const { child, election } = await leader({ hangAfterMs: 500, onHang: "kill" }, { ACTS: "1" });
    let startedAt = Number.POSITIVE_INFINITY;
    const lead = (): Promise<void> => {
      startedAt = now();
      return Promise.resolve();
    };
    const b = await Member.join({ endpoints: [server.endpoint], election, id: "b", ttlSeconds: 2, lead });
    child.write("20000\n");
    expect(await child.exit).toEqual({ code: null, signal: "SIGKILL" });
    await eventually(() => expect(startedAt).toBeLessThan(Number.POSITIVE_INFINITY));
    const lastAct = Number(
      child.lines
        .filter((line) => /^acts [\d.]+$/.test(line))
        .at(-1)
        ?.slice(5),
    );
    expect(lastAct).toBeLessThan(startedAt);
    // A busy machine may pass the last words on later than the end.
    await eventually(() => expect(child.stderr).toContain('as onHang "kill" asks'));
    await b.leave();
  });

  test("with onHang kill lives when it was suspended as a whole", async () => {
    const { child } = await leader({ onHang: "kill" });
    await child.stop();
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    child.cont();
    await child.waitFor(/^is standby/, 10_000);
    await child.waitFor(/^leads (?!2$)/, 10_000);
    expect(child.ended).toBeUndefined();
    await child.kill();
  });

  test("goes on with renewals on the main thread while every other thread ends", async () => {
    const killer = `process.on("worker", (worker) => {
      worker.once("online", () => setTimeout(() => worker.terminate(), 500));
    });`;
    const { child, election } = await leader({}, { NODE_OPTIONS: preload(killer) });
    await child.waitFor("error: the renewal thread has ended; renewing on the main thread", 10_000);
    const b = await standby(election);
    await expect(eventually(() => expect(b.role).toBe("leader"), { timeoutMs: 5_000 })).rejects.toThrow();
    child.write("leave\n");
    expect(await child.exit).toEqual({ code: 0, signal: null });
    await b.leave();
  });

  test("has another thread soon after one has ended", async () => {
    const killer = `process.once("worker", (worker) => {
      worker.once("online", () => setTimeout(() => worker.terminate(), 500));
    });`;
    const { child } = await leader({}, { NODE_OPTIONS: preload(killer) });
    await child.waitFor("error: the renewal thread has ended", 10_000);
    await child.waitFor("the renewal thread renews", 15_000);
    child.write("1800\n");
    expect(await child.waitFor(/^awake/, 10_000)).toBe("awake leader true");
    await child.kill();
  });

  test("keeps its lead though the thread finds no way to etcd", async () => {
    const lost = `import { isMainThread } from "node:worker_threads";
    import net from "node:net";
    if (!isMainThread) net.Socket.prototype.connect = function (...args) {
      setImmediate(() => this.destroy(new Error("no way")));
      return this;
    };`;
    const { child, election } = await leader({}, { NODE_OPTIONS: preload(lost) });
    const b = await standby(election);
    await expect(eventually(() => expect(b.role).toBe("leader"), { timeoutMs: 6_000 })).rejects.toThrow();
    expect(child.lines.some((line) => line.includes("the renewal thread renews"))).toBe(false);
    expect(child.lines.filter((line) => line.startsWith("leads"))).toHaveLength(1);
    await child.kill();
    await b.leave();
  });

  test("kills even where standard error takes nothing", async () => {
    const fifo = `import { openSync, closeSync, writeSync } from "node:fs";
    import { execFileSync } from "node:child_process";
    import { isMainThread } from "node:worker_threads";
    if (isMainThread) {
      execFileSync("mkfifo", [process.env.FIFO]);
      const both = openSync(process.env.FIFO, "r+");
      closeSync(2);
      if (openSync(process.env.FIFO, "r+") !== 2) throw new Error("not standard error");
      const chunk = Buffer.alloc(4096);
      for (let left = 65536; left > 0; left -= 4096) writeSync(both, chunk);
    }`;
    const folder = mkdtempSync(join(tmpdir(), "succession-blocked-"));
    const env = { NODE_OPTIONS: preload(fifo), FIFO: join(folder, "stderr") };
    const { child } = await leader({ onHang: "kill", hangAfterMs: 500 }, env);
    child.write("20000\n");
    expect(await child.exit).toEqual({ code: null, signal: "SIGKILL" });
    rmSync(folder, { recursive: true });
  });
});

function preload(program: string): string {
  return `--import=data:text/javascript,${encodeURIComponent(program)}`;
}
