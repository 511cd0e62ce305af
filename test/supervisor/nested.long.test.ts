import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { childIds, isAlive } from "../../src/supervisor/process-table.ts";
import { main } from "../cli/succession.ts";
import { descendants, runEvent, startRun } from "./programs.ts";
import { containments } from "./stage.ts";

let server: DevServer;
let folder: string;
beforeAll(async () => {
  server = await DevServer.start();
  folder = mkdtempSync(join(tmpdir(), "succession-nested-"));
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("a run under a run", () => {
  test.each(containments)(
    "tells its program its own role alone, and dies with the outer program; contained by %s",
    async (containment) => {
      const [api, roleFile] = [join(folder, `api-${containment}`), join(folder, `role-${containment}`)];
      const print = "env | grep ^SUCCESSION_; echo begun; exec sleep 1000";
      const inner = ["run", `/inner-${containment}`, "--endpoints", server.endpoint, "--"];
      const command = [process.execPath, main, ...inner, "/bin/sh", "-c", print];
      const outer = startRun(`/outer-${containment}`, command, {
        endpoint: server.endpoint,
        flags: [
          ...["--id", "outer", "--containment", containment, "--api", api, "--role-file", roleFile],
          ...["--heartbeat-fd", "3", "--heartbeat-ms", "120000", "--health-start", "120"],
        ],
      });
      await outer.waitFor("begun", 60_000);
      const told = Object.fromEntries(outer.lines.slice(0, -1).map((line) => line.split("=")));
      expect(told).toMatchObject({
        SUCCESSION_ROLE: "leader",
        SUCCESSION_ELECTION: `/inner-${containment}`,
        SUCCESSION_ID: expect.not.stringMatching(/^outer$/),
        SUCCESSION_RUN_ID: expect.stringMatching(/^\S+ \S+$/),
      });
      for (const name of ["API", "ROLE_FILE", "HEARTBEAT_FD"])
        expect(told).not.toHaveProperty(`SUCCESSION_${name}`);
      expect(JSON.parse(readFileSync(roleFile, "utf8"))).toMatchObject({ id: "outer", role: "leader" });

      // The outer program's first process dies at once, without a word to what it has started.
      const [shim] = childIds(outer.pid);
      const all = descendants(outer.pid).filter(({ pid }) => pid !== shim);
      expect(all.map(({ name }) => name)).toContain("sleep");
      const { pid = 0 } = await runEvent(outer, "started");
      process.kill(pid, "SIGKILL");
      await runEvent(outer, "ended");
      expect(all.filter(isAlive).map(({ command: line }) => line)).toEqual([]);
      await outer.kill("SIGTERM");
    },
    180_000,
  );
});
