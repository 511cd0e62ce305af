import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { cleanEnv, main } from "../cli/succession.ts";
import { eventually } from "../support/eventually.ts";
import { Child } from "../support/processes.ts";
import { runEvent, startRun } from "./programs.ts";
import { containments } from "./stage.ts";

const timeoutMs = 180_000;
const examples = fileURLToPath(new URL("../../examples/run/", import.meta.url));
const works = (command: string, ...args: string[]): boolean => spawnSync(command, args).status === 0;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "succession-citizen-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the supervisor", () => {
  let server: DevServer;
  beforeAll(async () => {
    server = await DevServer.start();
  });
  afterAll(() => server.close());

  test.skipIf(!containments.includes("namespace"))(
    "says once that it is process 1 without an init",
    async () => {
      const child = Child.start({
        command: "unshare",
        args: [
          ...["--pid", "--fork", "--kill-child", "--mount-proc", process.execPath, main, "run", "/init"],
          ...["--endpoints", server.endpoint, "--containment", "group", "--restart", "never", "--", "true"],
        ],
        env: cleanEnv(),
      });
      expect((await child.exit).code).toBe(0);
      expect(child.stderr.match(/runs as process 1 without an init/g)).toHaveLength(1);
    },
    timeoutMs,
  );

  test(
    "tells systemd that it is ready, its role, and that it stops; and its program nothing of that",
    async () => {
      // systemd's own program, but for the socket: it writes down what it is told.
      const [told, program] = [join(folder, "told"), join(folder, "systemd-notify")];
      writeFileSync(program, `#!/bin/sh\necho "$*" >>${told}\n`);
      chmodSync(program, 0o755);
      writeFileSync(told, "");
      const { PATH: path = "" } = process.env;
      const child = startRun("/systemd", ["/bin/sh", "-c", 'echo "[$NOTIFY_SOCKET]"; exec sleep 1000'], {
        endpoint: server.endpoint,
        env: { NOTIFY_SOCKET: "/run/none", PATH: `${folder}${delimiter}${path}` },
      });
      expect(await child.waitFor("[", 60_000)).toBe("[]");
      await runEvent(child, "leader");
      const lines = (): string[] => readFileSync(told, "utf8").trim().split("\n");
      await eventually(() => expect(lines().at(-1)).toContain("--status=leads"), { timeoutMs: 60_000 });
      expect(lines()[0]).toContain("--ready");
      expect(lines().filter((line) => line.includes("--ready"))).toHaveLength(1);
      await child.kill("SIGTERM");
      expect(lines().some((line) => line.startsWith("STOPPING=1"))).toBe(true);
    },
    timeoutMs,
  );
});

describe("the example", () => {
  test.skipIf(!works("systemd-analyze", "--version"))("unit passes systemd's own check", () => {
    // The commands need not be installed where this is tested.
    const unit = readFileSync(join(examples, "succession-run.service"), "utf8");
    const file = join(folder, "succession-run.service");
    writeFileSync(file, unit.replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`));
    const { status, stderr } = spawnSync("systemd-analyze", ["verify", file], { encoding: "utf8" });
    expect({
      status,
      complaints: stderr.split("\n").filter((line) => line.includes("succession-run")),
    }).toEqual({
      status: 0,
      complaints: [],
    });
  });

  test.skipIf(!works("python3", "-c", "import yaml"))(
    "side-car is well-formed, and runs what there is",
    () => {
      const script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))";
      const input = readFileSync(join(examples, "sidecar.yaml"), "utf8");
      const { stdout } = spawnSync("python3", ["-c", script], { input, encoding: "utf8" });
      const [deployment] = JSON.parse(stdout);
      const door = deployment.spec.template.spec.containers[1];
      expect(door.args.slice(0, 3)).toEqual(["/merc", "--restart=always", "--"]);
    },
  );

  test("Dockerfile has instructions alone, and starts under an init", () => {
    const lines = readFileSync(join(examples, "Dockerfile"), "utf8")
      .replaceAll(/\\\n\s*/g, "")
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"));
    expect(lines.map((line) => line.split(" ")[0])).toEqual(["FROM", "RUN", "RUN", "ENTRYPOINT"]);
    const [init] = JSON.parse(lines.at(-1)?.slice("ENTRYPOINT ".length) ?? "");
    expect(init).toBe("/usr/bin/tini");
  });
});
