import { expect, test } from "vitest";
import { type RestartDecision, type RestartPolicy, Restarts } from "./restarts.ts";

const restarts = (policy: RestartPolicy): Restarts => new Restarts({ policy, limit: 3, windowMs: 1_000 });

test.each<[RestartPolicy, number, RestartDecision["to"]]>([
  ["never", 0, "end"],
  ["never", 1, "end"],
  ["on-failure", 0, "end"],
  ["on-failure", 1, "restart"],
  ["on-failure", 143, "restart"],
  ["always", 0, "restart"],
  ["always", 1, "restart"],
])("with the policy %s a program that ends with %d leads to: %s", (policy, code, to) => {
  expect(restarts(policy).decide({ code }, 0).to).toBe(to);
});

test("too many ends within the window are given up", () => {
  const policy = restarts("on-failure");
  const decisions = [0, 100, 200].map((now) => policy.decide({ code: 1 }, now));
  expect(decisions).toEqual([
    { to: "restart", failures: 1 },
    { to: "restart", failures: 2 },
    { to: "give-up", failures: 3 },
  ]);
});

test("ends that lie far apart are forgotten", () => {
  const policy = restarts("always");
  for (let now = 0; now < 10_000; now += 600)
    expect(policy.decide({ code: 1 }, now)).toMatchObject({ to: "restart" });
});
