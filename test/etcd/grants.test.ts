import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Observer } from "../../src/concurrency/observer.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import { Member } from "../../src/member/member.ts";
import { notebook } from "../member/world.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdServer } from "../support/etcd-server.ts";
import { eventually } from "../support/eventually.ts";

const run = promisify(execFile);
const page = readFileSync(new URL("../../docs/security.md", import.meta.url), "utf8");
/** The commands of the page, as a reader copies them. */
const commands = /```sh\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
const withoutDetails = commands.replace(/^.*_succession.*\n/m, "");
const patience = { timeoutMs: 20_000 };

describe.each(realEtcds)("the grants of docs/security.md, on etcd $version", (binary) => {
  let server: EtcdServer;
  let folder: string;

  /** Runs lines of the page as they stand there, beside the two password files. */
  async function shell(lines: string, env: NodeJS.ProcessEnv = {}): Promise<void> {
    const path = `${dirname(binary.etcdctl)}${delimiter}${process.env["PATH"]}`;
    const settings = { ETCDCTL_API: "3", ETCDCTL_ENDPOINTS: server.endpoint, PATH: path };
    await run("sh", ["-euc", lines], { cwd: folder, env: { ...settings, ...env } });
  }

  beforeAll(async () => {
    server = await EtcdServer.start({ binary, extraArgs: ["--bcrypt-cost=4"] });
    folder = mkdtempSync(join(tmpdir(), "succession-grants-"));
    writeFileSync(join(folder, "root-password"), "root-s3cret\n");
    writeFileSync(join(folder, "merc-password"), "merc-s3cret\n");
    await shell(commands);
    const asRoot = { ETCDCTL_USER: "root:root-s3cret" };
    // The same for another election, without the right to details; one who may read; and one who may nothing.
    const other = withoutDetails.split("\n").filter((line) => !/ root |auth enable/.test(line));
    await shell(other.join("\n").replaceAll("merc", "bare").replace("< bare-", "< merc-"), asRoot);
    await shell(
      `etcdctl role add reader
       etcdctl role grant-permission reader read /merc/ /merc0
       for name in reader nobody; do etcdctl user add $name --interactive=false < merc-password; done
       etcdctl user grant-role reader reader`,
      asRoot,
    );
  }, 120_000);
  afterAll(async () => {
    await server.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const as = (user: string): { endpoints: string[]; user: string; password: string } => ({
    ...{ endpoints: [server.endpoint], user, password: "merc-s3cret" },
  });

  test("members join, lead, hand over, come back and are observed, with their details", async () => {
    const { logger, said } = notebook();
    const settings = { ...as("merc"), election: "/merc", ttlSeconds: 12, logger };
    const etcd = new Etcd(as("reader"));
    const leaders = new Observer(etcd, "/merc").observe()[Symbol.asyncIterator]();
    expect((await leaders.next()).value).toBeUndefined();
    const first = await Member.join({ ...settings, id: "first" });
    await using second = await Member.join({ ...settings, id: "second" });
    await eventually(() => expect(first.role).toBe("leader"), patience);
    expect((await leaders.next()).value?.id).toBe("first");
    await first.leave();
    await eventually(() => expect(second.role).toBe("leader"), patience);
    await using again = await Member.join({ ...settings, id: "again" });
    await eventually(() => expect(again.line.map(({ id }) => id)).toEqual(["second", "again"]), patience);
    const named: (string | undefined)[] = [];
    while (named.at(-1) !== "second") named.push((await leaders.next()).value?.id);
    await leaders.return?.();
    await etcd.close();
    const asRoot = ["--user=root:root-s3cret", "get", "_succession/v1/%2Fmerc/", "--prefix"];
    await eventually(async () => {
      const details = await server.etcdctl(...asRoot);
      expect(details).toContain('"id":"second"');
      expect(details).toContain('"id":"again"');
    }, patience);
    expect(said.filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
  });

  test("without the right to details a member stands and leads all the same, and says so once", async () => {
    const { logger, said } = notebook();
    await using member = await Member.join({
      ...as("bare"),
      election: "/bare",
      id: "a",
      ttlSeconds: 12,
      logger,
    });
    await eventually(() => expect(member.role).toBe("leader"), patience);
    const refused = (): number =>
      said.filter(({ message }) => message.includes("refuses this member's")).length;
    await eventually(() => expect(refused()).toBe(1), patience);
  });

  test.each([
    ["nothing", "nobody"],
    ["read alone", "reader"],
    ["another election", "bare"],
  ])("who has the right to %s is told at joining what is missing", async (_title, user) => {
    const joining = Member.join({ ...as(user), election: "/merc", id: "a" });
    await expect(joining).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      message: expect.stringContaining("needs readwrite on the range [/merc/, /merc0)"),
    });
  });
});
