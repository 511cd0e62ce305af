import { expect, test } from "vitest";
import { eventually } from "./eventually.ts";

test("returns what the assertion returns once it passes", async () => {
  let tries = 0;
  const value = await eventually(
    () => {
      tries++;
      if (tries < 3) throw new Error("not yet");
      return tries;
    },
    { everyMs: 1 },
  );
  expect(value).toBe(3);
});

test("throws the assertion's last error when the time is over", async () => {
  const failing = eventually(() => expect(1).toBe(2), { timeoutMs: 30, everyMs: 5 });
  await expect(failing).rejects.toThrow(/expected 1 to be 2[\s\S]*still so after 30 ms and \d+ tries/);
});

test("gives up an assertion that hangs", async () => {
  await expect(eventually(() => new Promise(() => {}), { timeoutMs: 30 })).rejects.toThrow("did not settle");
});
