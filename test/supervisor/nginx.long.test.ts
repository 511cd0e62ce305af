import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/free-ports.ts";
import { descendants, runEvent, startRun } from "./programs.ts";
import { containments, type Store, startStore } from "./stage.ts";

const hasNginx = spawnSync("nginx", ["-v"]).status === 0;
if (!hasNginx) process.stderr.write("*** NOT TESTED HERE: nginx under succession run; there is no nginx\n");

describe.skipIf(!hasNginx)("nginx as the distribution has it", () => {
  let store: Store;
  let folder: string;
  beforeAll(async () => {
    store = await startStore();
    folder = mkdtempSync(join(tmpdir(), "succession-nginx-"));
  });
  afterAll(async () => {
    await store?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test.each(containments)(
    "serves from the leader alone, and after its death from the next; contained by %s",
    async (containment) => {
      const [port = 0] = await freePorts(1);
      const start = (name: string) =>
        startRun(`/nginx-${containment}`, ["nginx", "-c", configure(name, port), "-g", "daemon off;"], {
          ...{ endpoint: store.endpoint, flags: ["--id", name, "--containment", containment, "--ttl", "5"] },
        });
      const served = async (by: string): Promise<void> => {
        await eventually(
          async () => {
            const answer = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: "close" } });
            expect(await answer.text()).toBe(by);
          },
          { timeoutMs: 60_000 },
        );
      };
      const a = start("a");
      await served("a");
      const b = start("b");
      await runEvent(b, "standby");
      // The same port: the master and its workers must be gone before the next can listen.
      const master = descendants(a.pid).find(({ command }) => command.includes("nginx: master"));
      process.kill(master?.pid ?? 0, "SIGKILL");
      await served("b");
      b.signal("SIGTERM");
      await served("a");
      // nginx ends with 0 on SIGTERM.
      expect((await b.exit).code).toBe(0);
      expect((await a.kill("SIGTERM")).code).toBe(0);
    },
    240_000,
  );

  /** Writes a configuration and returns its file. */
  function configure(name: string, port: number): string {
    const file = join(folder, `${name}-${port}.conf`);
    const lines = [
      ...[`pid ${file}.pid;`, "error_log stderr;", "worker_processes 2;", "events {}"],
      ...["http {", "access_log off;", `server { listen 127.0.0.1:${port}; return 200 "${name}"; }`, "}"],
    ];
    writeFileSync(file, lines.join("\n"));
    return file;
  }
});
