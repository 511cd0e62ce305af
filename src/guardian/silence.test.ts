import { expect, test } from "vitest";
import { Silence } from "./silence.ts";

test("counts from the last sign of life", () => {
  const silence = new Silence(0);
  for (let now = 25; now <= 500; now += 25) silence.look(now);
  expect(silence.ms).toBe(500);
  silence.heard();
  silence.look(525);
  expect(silence.ms).toBe(25);
});

test("does not count what passed while this side slept", () => {
  const silence = new Silence(0);
  silence.look(25);
  silence.look(60_025);
  expect(silence.ms).toBe(125);
});
