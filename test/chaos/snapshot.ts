import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EtcdCluster } from "../support/etcd-server.ts";

/** A snapshot of a cluster, as an operator keeps one. */
export class Snapshot {
  readonly #folder: string;

  static async save(cluster: EtcdCluster): Promise<Snapshot> {
    const snapshot = new Snapshot();
    await cluster.members[0]?.etcdctl("snapshot", "save", snapshot.#file);
    return snapshot;
  }

  private constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), "succession-snapshot-"));
  }

  get #file(): string {
    return join(this.#folder, "snapshot.db");
  }

  /**
   * Ends every member and starts it on what the snapshot holds, on the same ports. With the old token the cluster keeps
   * its id, and only the revisions show that it went back.
   */
  async restore(cluster: EtcdCluster, { sameId }: { readonly sameId: boolean }): Promise<void> {
    const peers = await peerUrls(cluster);
    const initialCluster = cluster.members.map(({ name }) => `${name}=${peers.get(name)}`).join(",");
    await Promise.all(cluster.members.map((member) => member.kill()));
    for (const member of cluster.members) {
      rmSync(member.dataDir, { recursive: true });
      await member.etcdctl(
        ...["snapshot", "restore", this.#file, `--data-dir=${member.dataDir}`, `--name=${member.name}`],
        `--initial-advertise-peer-urls=${peers.get(member.name)}`,
        `--initial-cluster=${initialCluster}`,
        // Servers of the tests are started with what they are a cluster of as their token.
        `--initial-cluster-token=${sameId ? initialCluster : "restored"}`,
      );
    }
    await Promise.all(cluster.members.map((member) => member.restart()));
    rmSync(this.#folder, { recursive: true });
  }
}

/** By name, from lines such as `8e9e05c52164694d, started, etcd, http://127.0.0.1:2380, http://127.0.0.1:2379, false`. */
async function peerUrls(cluster: EtcdCluster): Promise<ReadonlyMap<string, string>> {
  const lines = (await cluster.etcdctl("member", "list")).split("\n").map((line) => line.split(", "));
  return new Map(lines.map(([_id, _status, name = "", peer = ""]) => [name, peer]));
}
