import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findRealEtcds } from "../scripts/real-etcd.mjs";

/** A single real etcd for a measurement, fsync and all; ended with the process. */
export async function startEtcd() {
  const { found, missing } = findRealEtcds(join(import.meta.dirname, "..", ".cache"));
  const etcd = found["3.5"] ?? found["3.4"];
  if (etcd === undefined) throw new Error(`a real etcd is needed: ${Object.values(missing).join("; ")}`);
  const [client, peer] = [await freePort(), await freePort()];
  const data = mkdtempSync(join(tmpdir(), "succession-bench-"));
  const url = (port) => `http://127.0.0.1:${port}`;
  const child = spawn(
    join(etcd.folder, "etcd"),
    [
      ...["--data-dir", data, "--listen-client-urls", url(client), "--advertise-client-urls", url(client)],
      ...["--listen-peer-urls", url(peer), "--initial-advertise-peer-urls", url(peer)],
      ...["--initial-cluster", `default=${url(peer)}`],
    ],
    { stdio: "ignore" },
  );
  const close = () => {
    child.kill("SIGKILL");
    rmSync(data, { recursive: true, force: true, maxRetries: 5 });
  };
  process.once("exit", close);
  for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => process.exit(1));
  return { endpoint: `127.0.0.1:${client}`, release: etcd.release, close };
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
