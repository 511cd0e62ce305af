import { describe, expect, test } from "vitest";
import { succession } from "../cli/succession.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdCluster } from "../support/etcd-server.ts";

// Which release it is makes no difference to the demo, and takes long.
describe.each(realEtcds.slice(-1))("the demo on a cluster of three etcd $version", (binary) => {
  test("it goes on through the loss of one, and takes its keys away", { timeout: 90_000 }, async () => {
    await using cluster = await EtcdCluster.start({ binary });
    const endpoints = cluster.endpoints.join(",");
    await using demo = succession([
      "demo",
      "--rounds",
      "1",
      "--every",
      "8",
      "--json",
      "--endpoints",
      endpoints,
    ]);
    await demo.waitForError("dc3 stands in line", 60_000);
    // The raft leader: the worst one to lose.
    const lost = await cluster.leader();
    await lost.kill();
    expect(await demo.exit).toEqual({ code: 0, signal: null });
    const summary = JSON.parse(demo.stdout);
    expect(summary.overlaps).toBe(0);
    // The one failover is the one that the demo made: dc1 led until then.
    expect(summary.failovers).toMatchObject([{ kind: "crash", from: "dc1", to: "dc2" }]);
    expect(demo.stderr).not.toContain("leads no more");
    const [left] = cluster.others(lost);
    expect(await left?.etcdctl("get", "", "--prefix", "--keys-only")).toBe("");
  });
});
