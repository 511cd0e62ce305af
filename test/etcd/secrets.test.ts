import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Session } from "../../src/concurrency/session.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import { Member } from "../../src/member/member.ts";
import { runSuccession, succession } from "../cli/succession.ts";
import { notebook } from "../member/world.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { eventually } from "../support/eventually.ts";
import { appPassword, SecuredEtcd } from "./secured-etcd.ts";

const wrong = "wr0ng-d1stinctive";
const secrets = [wrong, appPassword];

/** Everything that can be seen of a value, errors with their causes and own properties included. */
function seen(value: unknown): string {
  return inspect(value, { depth: 10, maxStringLength: null, maxArrayLength: null });
}

function expectNone(text: string): void {
  for (const secret of secrets) expect(text.includes(secret) ? text : "").toBe("");
}

/** The command lines of every process on this machine, as anybody can read them. */
function commandLines(): string {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8");
      } catch {
        return "";
      }
    })
    .join("\n");
}

describe.skipIf(realEtcds.length === 0)("a password", () => {
  let secured: SecuredEtcd;
  let folder: string;
  let passwordFile: string;

  beforeAll(async () => {
    const binary = realEtcds.at(-1);
    if (binary === undefined) return;
    secured = await SecuredEtcd.start({ binary, tokens: "simple" });
    await secured.enable();
    folder = mkdtempSync(join(tmpdir(), "succession-secrets-"));
    passwordFile = join(folder, "password");
    writeFileSync(passwordFile, `${wrong}\n`);
  });
  afterAll(async () => {
    await secured?.[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  test("is in no output of a command that fails, however it was given", async () => {
    const addresses = [secured.server.endpoint, "127.0.0.1:1", `https://${secured.server.endpoint}`];
    const ways: readonly (readonly [readonly string[], NodeJS.ProcessEnv])[] = [
      [["--user", "app", "--password-file", passwordFile], {}],
      [["--user", "app"], { SUCCESSION_PASSWORD: wrong }],
      [[], { ETCDCTL_USER: `app:${wrong}` }],
    ];
    const runs = addresses.map(async (address, at) => {
      const [flags, env] = ways[at % ways.length] ?? [[], {}];
      const loud = ["--log-level", "debug", "--log-format", at === 0 ? "json" : "text", "--timeout", "1"];
      return await runSuccession(["elect", "/app/e", "a", "--endpoints", address, ...loud, ...flags], env);
    });
    for (const { code, stdout, stderr } of await Promise.all(runs)) {
      expect(code).toBe(1);
      expect(stderr).not.toBe("");
      expectNone(stdout + stderr);
    }
  });

  test("after the user's name, or as a flag, is refused and not repeated; help does not show it either", async () => {
    const env = { SUCCESSION_PASSWORD: wrong, ETCDCTL_USER: `app:${wrong}` };
    const runs = await Promise.all([
      runSuccession(["status", "--user", `app:${wrong}`]),
      runSuccession(["status", `--password=${wrong}`, "--user", "app"]),
      runSuccession(["elect", "--help"], env),
      runSuccession(["help"], env),
    ]);
    expect(runs.map(({ code }) => code)).toEqual([2, 2, 0, 0]);
    expect(runs[0]?.stderr).toContain("--user takes the name alone");
    for (const { stdout, stderr } of runs) expectNone(stdout + stderr);
  });

  test("from etcdctl's variable is used, and is on no command line", async () => {
    const args = ["elect", "/app/cli", "a", "--json", "--log-level", "debug"];
    const env = { ETCDCTL_USER: `app:${appPassword}`, ETCDCTL_ENDPOINTS: secured.server.endpoint };
    await using child = succession(args, { env });
    await child.waitFor('"leader"', 20_000);
    expectNone(commandLines());
    await child.kill("SIGTERM");
    expectNone(child.stdout + child.stderr);
  });

  test("is in nothing that members, sessions and clients log, throw or show", async () => {
    const { logger, said } = notebook();
    const shown: unknown[] = [said];
    const good = { endpoints: [secured.server.endpoint], user: "app", password: appPassword, logger };
    const bad: readonly object[] = [
      { password: wrong },
      { password: Buffer.from(wrong) },
      { password: [wrong] },
      { password: `${wrong}\ud800` },
      { endpoints: ["127.0.0.1:1"] },
      { endpoints: [`https://${secured.server.endpoint}`] },
      { tls: { key: wrong } },
    ];
    for (const options of bad) {
      const joining = Member.join({ ...good, ...options, election: "/app/lib", id: "a", timeoutMs: 1_000 });
      shown.push(
        await joining.then(
          () => expect.unreachable(),
          (error: unknown) => error,
        ),
      );
    }
    const { logger: _logger, ...silent } = good;
    const etcd = new Etcd(silent);
    const session = await Session.open(etcd, { ttlSeconds: 5 });
    await using member = await Member.join({ ...good, election: "/app/lib", id: "a", ttlSeconds: 5 });
    await eventually(() => expect(member.role).toBe("leader"));
    shown.push(etcd, session, member, member.term, member.line);
    await session.close();
    await etcd.close();
    expectNone(shown.map(seen).join("\n"));
    expect(said.some(({ level }) => level === "debug")).toBe(true);
  });
});
