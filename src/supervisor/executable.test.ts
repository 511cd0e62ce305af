import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { unusableCommand } from "./executable.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "succession-executable-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function program(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  chmodSync(file, 0o755);
  return file;
}

test.each([
  ["nothing but commands", "echo", undefined],
  ["an interpreter that is there", "#! /bin/sh -e\n", undefined],
  ["one that is not", "#!/no/such -x\n", '"/no/such"'],
  ["line ends of another system", "#!/bin/sh\r\necho\r\n", '"/bin/sh\\r"'],
])("a script with %s", (_title, text, missing) => {
  const unusable = missing && { code: 126, why: `its interpreter ${missing} is not there` };
  expect(unusableCommand(program("script", text), {})).toEqual(unusable);
});

test("what cannot be looked up is passed over, and is no program if nothing else is found", () => {
  // Root may look into every folder, but nobody at a name that is too long.
  const long = join(folder, "x".repeat(300));
  expect(unusableCommand(long, {})).toEqual({ code: 126, why: "not executable" });
  expect(unusableCommand("sh", { PATH: `${long}:/bin` })).toBeUndefined();
});
