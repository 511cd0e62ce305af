import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const tether = fileURLToPath(new URL("../../dist/cli/demo/tether.js", import.meta.url));

test("a member's process ends with the demo even while its main thread is busy", async () => {
  const code = `new (require("node:worker_threads").Worker)(${JSON.stringify(tether)});
    setTimeout(() => { console.log("busy"); for (;;); }, 300);`;
  const stdio = ["ignore", "pipe", "inherit", "ignore", "pipe"] as const;
  const child = spawn(process.execPath, ["-e", code], { stdio: [...stdio] });
  try {
    await once(child.stdout as NodeJS.ReadableStream, "data");
    child.stdio[4]?.destroy();
    expect(await once(child, "exit")).toEqual([null, "SIGKILL"]);
  } finally {
    child.kill("SIGKILL");
  }
});
