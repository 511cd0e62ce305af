import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/free-ports.ts";
import { descendants, runEvent, startRun } from "./programs.ts";
import { containments, type Store, startStore } from "./stage.ts";

const hasRedis = spawnSync("redis-server", ["--version"]).status === 0;
if (!hasRedis)
  process.stderr.write("*** NOT TESTED HERE: redis-server under succession run; there is no redis-server\n");

describe.skipIf(!hasRedis)("redis-server as the distribution has it", () => {
  let store: Store;
  let folder: string;
  beforeAll(async () => {
    store = await startStore();
    folder = mkdtempSync(join(tmpdir(), "succession-redis-"));
  });
  afterAll(async () => {
    await store?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test.each(containments)(
    "answers from the leader alone, and after its death from the next; contained by %s",
    async (containment) => {
      const [port = 0] = await freePorts(1);
      const start = (name: string) => {
        const settings = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""];
        const command = ["redis-server", ...settings, "--dbfilename", `${name}.rdb`];
        const flags = ["--id", name, "--containment", containment, "--ttl", "5"];
        return startRun(`/redis-${containment}`, command, { endpoint: store.endpoint, flags });
      };
      const answered = async (by: string): Promise<void> => {
        await eventually(async () => expect(await ask(port)).toContain(`${by}.rdb`), { timeoutMs: 60_000 });
      };
      const a = start("a");
      await answered("a");
      const b = start("b");
      await runEvent(b, "standby");
      const server = descendants(a.pid).find(({ name }) => name === "redis-server");
      process.kill(server?.pid ?? 0, "SIGKILL");
      await answered("b");
      b.signal("SIGTERM");
      await answered("a");
      // It ends with 0 on SIGTERM.
      expect((await b.exit).code).toBe(0);
      expect((await a.kill("SIGTERM")).code).toBe(0);
    },
    240_000,
  );

  /** Which server it is, by a setting of its own. */
  async function ask(port: number): Promise<string> {
    const socket = connect(port, "127.0.0.1");
    socket.end("CONFIG GET dbfilename\r\nQUIT\r\n");
    return await text(socket);
  }
});
