import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const root = new URL("../../", import.meta.url);
const page = readFileSync(new URL("ARCHITECTURE.md", root), "utf8");
const named = [...page.matchAll(/`([\w./-]+\.test\.ts)`: "([^"]+)"/g)].map(([, file = "", title = ""]) => ({
  file,
  title,
}));

test("the safety argument names a test for each of its sentences", () => {
  const rows = page.split("\n").filter((line) => line.startsWith("| ") && line.includes(".test.ts`"));
  expect(rows.length).toBeGreaterThan(25);
  expect(named).toHaveLength(rows.length);
});

test.each(named)('$file has "$title"', ({ file, title }) => {
  expect(readFileSync(new URL(`test/${file}`, root), "utf8")).toContain(`"${title}"`);
});
