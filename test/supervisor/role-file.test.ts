import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { RoleFile } from "../../src/supervisor/role-file.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { eventually } from "../support/eventually.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "succession-role-file-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a role file", () => {
  test("is one text or the other to whoever reads it, and leaves nothing beside it", async () => {
    const own = join(folder, "whole");
    mkdirSync(own);
    const path = join(own, "role");
    writeFileSync(path, "of an earlier run");
    const [old, young] = ["a".repeat(50_000), "b".repeat(50_000)];
    const file = await RoleFile.open(systemClock, path, old, () => {});
    let written = false;
    const writing = (async () => {
      for (let round = 0; round < 20; round++) await file.put(round % 2 === 0 ? young : old);
      written = true;
    })();
    while (!written) {
      expect([old, young]).toContain(readFileSync(path, "utf8"));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await writing;
    file.close();
    expect(readdirSync(own)).toEqual(["role"]);
  });

  test.each([
    ["in no folder", "none/role", /cannot write the role file .*none\/role: ENOENT/],
    ["that is a folder", ".", /cannot write the role file .*: (EISDIR|EBUSY|ENOTEMPTY|EEXIST)/],
  ])("%s is refused at the start", async (_title, name, message) => {
    await expect(RoleFile.open(systemClock, join(folder, name), "x", () => {})).rejects.toThrow(message);
  });

  test("that cannot be written any more is said once, tried again, and says the newest in the end", async () => {
    const own = join(folder, "gone");
    mkdirSync(own);
    const path = join(own, "role");
    const clock = new ManualClock();
    const troubles: string[] = [];
    const file = await RoleFile.open(clock, path, "first", (why) => troubles.push(why));
    rmSync(own, { recursive: true });
    await file.put("second");
    await file.put("third");
    expect(troubles).toEqual([expect.stringContaining("ENOENT")]);
    mkdirSync(own);
    await clock.advance(1_000);
    await eventually(() => expect(readFileSync(path, "utf8")).toBe("third"));
    await file.put("fourth");
    expect(readFileSync(path, "utf8")).toBe("fourth");
    expect(troubles).toHaveLength(1);
    file.close();
    expect(clock.pending).toBe(0);
  });
});
