import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { succession } from "../cli/succession.ts";
import { eventually } from "../support/eventually.ts";
import type { Child } from "../support/processes.ts";
import { descendants, isAlive, listeningPorts } from "./processes-of.ts";

const { LONG_TESTS: long } = process.env;

describe.runIf(process.platform === "linux")("killed at any moment it leaves nothing behind", () => {
  const complete = (demo: Child): Promise<string> => demo.waitFor("dc3 stands in line", 60_000);
  const midFailover = (demo: Child): Promise<string> => demo.waitFor("crash: killing", 60_000);
  const early = async (demo: Child): Promise<void> => {
    await eventually(() => expect(descendants(demo.pid)).not.toEqual([]));
  };

  type Case = [title: string, signal: NodeJS.Signals, moment: (demo: Child) => Promise<unknown>];
  const few: readonly Case[] = [
    ["SIGKILL while members start", "SIGKILL", early],
    ["SIGKILL during a failover", "SIGKILL", midFailover],
    ["SIGINT", "SIGINT", complete],
  ];
  const others: readonly Case[] = [
    ["SIGKILL while all is well", "SIGKILL", complete],
    ["SIGTERM during a failover", "SIGTERM", midFailover],
    ["SIGHUP", "SIGHUP", complete],
  ];
  test.for(long === "1" ? [...few, ...others] : few)(
    "%s",
    async ([_title, signal, moment], { expect, onTestFinished }) => {
      const folder = mkdtempSync(join(tmpdir(), "succession-demo-"));
      onTestFinished(() => rmSync(folder, { recursive: true }));
      await using demo = succession(["demo", "--every", "1"], { env: { TMPDIR: folder } });
      await moment(demo);
      const pids = [demo.pid, ...descendants(demo.pid)];
      const ports = pids.flatMap(listeningPorts);
      const { code } = await demo.kill(signal);
      if (signal !== "SIGKILL") expect(code).toBe(0);
      // A member killed while Node.js still loads it notices that its parent is gone when it has loaded.
      await eventually(() => expect(pids.filter(isAlive)).toEqual([]), { timeoutMs: 10_000 });
      expect(ports.length).toBeGreaterThan(0);
      // The last thread of a killed process closes its ports, a moment after the first is seen dead.
      await eventually(async () => {
        for (const port of ports) expect(await listens(port)).toBe(false);
      });
      expect(readdirSync(folder)).toEqual([]);
    },
  );
});

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    }).on("error", () => resolve(false));
  });
}
