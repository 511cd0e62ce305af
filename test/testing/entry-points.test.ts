import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const src = new URL("../../src/", import.meta.url);

/** Every file that an entry point loads, types left out. */
function loaded(entry: string, found: Set<string> = new Set()): Set<string> {
  const file = new URL(entry, src);
  if (found.has(file.href)) return found;
  found.add(file.href);
  const text = readFileSync(file, "utf8");
  for (const [, path] of text.matchAll(/^(?:import|export) (?!type )[^;]*?from "(\.[^"]+)";/gms)) {
    loaded(new URL(path as string, file).href, found);
  }
  return found;
}

test("the main entry point loads neither the server nor the test tools", () => {
  const files = [...loaded("index.ts")].map((href) => href.slice(src.href.length));
  expect(files).toContain("member/member.ts");
  expect(files.filter((file) => /^(devserver|testing)\//.test(file))).toEqual([]);
  expect([...loaded("testing/index.ts")].some((href) => href.includes("/devserver/"))).toBe(true);
});
