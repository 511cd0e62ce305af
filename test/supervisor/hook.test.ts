import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { Hook } from "../../src/supervisor/hook.ts";
import { isAlive, type ProcessEntry, processEntry } from "../../src/supervisor/process-table.ts";
import { eventually } from "../support/eventually.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "succession-hook-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const start = (script: string, timeoutMs = 20_000): Hook =>
  new Hook({ clock: systemClock, command: ["/bin/sh", "-c", script], env: process.env, timeoutMs });

/** The processes whose ids a hook has written into a file. */
async function processes(file: string, count: number): Promise<readonly ProcessEntry[]> {
  return await eventually(
    () => {
      const found = readFileSync(file, "utf8")
        .trim()
        .split("\n")
        .map((pid) => processEntry(Number(pid)));
      expect(found.filter((entry) => entry !== undefined)).toHaveLength(count);
      return found as ProcessEntry[];
    },
    { timeoutMs: 20_000 },
  );
}

const family = (file: string): string =>
  `trap '' TERM; echo $$ >${file}; sh -c 'echo $$ >>${file}; exec sleep 1000' & setsid sh -c 'echo $$ >>${file}; exec sleep 1000' &`;

describe.concurrent("a hook", () => {
  test("that is done says nothing, and one that fails says how", async () => {
    expect(await start("exit 0").ended).toBeUndefined();
    expect(await start("exit 3").ended).toBe("ended with 3");
    expect(await start("kill -KILL $$").ended).toBe("was ended by SIGKILL");
    expect(await start("no-such-command-of-ours 2>/dev/null").ended).toBe("ended with 127");
  });

  test("that hangs is killed with all that it started, detached or not", async () => {
    const file = join(folder, "hangs");
    const hook = start(`${family(file)} wait`, 1_500);
    const found = await processes(file, 3);
    expect(await hook.ended).toBe("did not end within 1500 ms and was killed");
    expect(found.filter(isAlive)).toEqual([]);
  });

  test("leaves nothing behind when it is done, and is killed at once where that is asked for", async () => {
    const [left, killed] = [join(folder, "left"), join(folder, "killed")];
    const done = start(`${family(left)} while [ $(wc -l <${left}) -lt 3 ]; do sleep 0.02; done`);
    const hook = start(`${family(killed)} wait`);
    const found = await processes(killed, 3);
    await hook.kill("not needed");
    expect(await hook.ended).toBe("not needed");
    expect(found.filter(isAlive)).toEqual([]);
    expect(await done.ended).toBeUndefined();
    const pids = readFileSync(left, "utf8").trim().split("\n").map(Number);
    const alive = pids.map(processEntry).filter((entry) => entry !== undefined && isAlive(entry));
    expect(alive).toEqual([]);
  });
});
