import { execFileSync } from "node:child_process";
import { accessSync, constants, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { exposition, type Metric } from "../../src/metric.ts";
import { gatewayMetrics } from "../../src/traffic/gateway-metrics.ts";
import { newCounters } from "../../src/traffic/gateway-stats.ts";
import { World } from "../member/world.ts";

const examples = fileURLToPath(new URL("../../examples/", import.meta.url));
const read = (path: string): string => readFileSync(join(examples, path), "utf8");

/** Everything that is exposed. */
let metrics: readonly Metric[];
beforeAll(async () => {
  const world = new World();
  const { member } = await world.join("a");
  const stats = { waiting: 0, open: 0, ...newCounters() };
  const route = { at: "wait", why: "starting", leader: undefined } as const;
  member.metrics();
  await world.settle();
  metrics = [...member.metrics(), ...gatewayMetrics("/merc", stats, route)];
  await member.leave();
});

interface Panel {
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly w: number };
  readonly targets: readonly { readonly expr: string; readonly refId: string }[];
}

describe("the examples for monitoring", () => {
  test.each([
    "grafana/succession.json",
    "prometheus/succession.rules.yml",
    "prometheus/succession.rules.test.yml",
  ])("%s names only metrics and labels that exist", (path) => {
    const names = metrics.flatMap(({ name, type }) =>
      type === "histogram" ? ["bucket", "sum", "count"].map((each) => `${name}_${each}`) : [name],
    );
    const text = read(path);
    // Quotes may be those of JSON.
    const used = [...text.matchAll(/(succession_\w+)(?:\{((?:[^{}"]|\\?"[^"]*")*)\})?/g)];
    expect(used.length).toBeGreaterThan(8);
    const labels = new Set(
      metrics.flatMap(({ samples }) => samples.flatMap((each) => Object.keys(each.labels))),
    );
    for (const [, name, matchers = ""] of used) {
      expect(names).toContain(name);
      for (const [, label] of matchers.matchAll(/(\w+)\s*=~?\s*\\?"/g)) {
        // Prometheus itself gives each series its instance.
        if (label !== "instance") expect(labels).toContain(label);
      }
    }
  });

  test("the dashboard has panels with queries, each within the width of the page", () => {
    const { panels, templating } = JSON.parse(read("grafana/succession.json")) as {
      readonly panels: readonly Panel[];
      readonly templating: { readonly list: readonly { readonly name: string }[] };
    };
    expect(templating.list.map(({ name }) => name)).toEqual(["datasource", "election"]);
    for (const { title, gridPos, targets } of panels) {
      expect([title, gridPos.x + gridPos.w <= 24]).toEqual([title, true]);
      expect(targets.map(({ refId }) => refId)).toEqual([..."ABCD"].slice(0, targets.length));
    }
  });
});

/** The distribution's, or the one that is named. */
function promtool(): string | undefined {
  const { PROMTOOL: named, PATH: path = "" } = process.env;
  const places =
    named === undefined ? path.split(delimiter).map((folder) => join(folder, "promtool")) : [named];
  return places.find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

const tool = promtool();
const notFound =
  "*** PROMTOOL NOT FOUND: the alert rules were not tested (package prometheus, or name it in PROMTOOL)\n";
afterAll(() => {
  if (tool === undefined) process.stderr.write(notFound);
});

describe.skipIf(tool === undefined)("promtool", () => {
  const ask = (args: readonly string[], input?: string): string =>
    execFileSync(tool as string, args, {
      ...{ cwd: join(examples, "prometheus"), encoding: "utf8" },
      ...(input === undefined ? {} : { input }),
    });

  test("finds the rules sound, and that they alert when they should and not otherwise", () => {
    expect(ask(["check", "config", "prometheus.yml"])).toContain("SUCCESS: 11 rules found");
    expect(ask(["test", "rules", "succession.rules.test.yml"])).toContain("SUCCESS");
  });

  test("has nothing to say against the text format and the names", () => {
    expect(ask(["check", "metrics"], exposition(metrics))).toBe("");
  });
});
