import { createServer } from "node:net";
import { afterAll, expect, test, vi } from "vitest";
import { realEtcds } from "./etcd-binaries.ts";
import { EtcdServer } from "./etcd-server.ts";
import { freePorts } from "./free-ports.ts";

vi.mock(import("./free-ports.ts"), async (original) => {
  const real = await original();
  return { freePorts: vi.fn(real.freePorts) };
});

const blocker = createServer();
afterAll(() => blocker.close());

test.skipIf(realEtcds.length === 0)(
  "a port that somebody took in between is given up for another",
  async () => {
    const [taken, ...others] = await freePorts(3);
    await new Promise<void>((resolve) => blocker.listen({ port: taken, host: "127.0.0.1" }, resolve));
    vi.mocked(freePorts).mockResolvedValueOnce([taken as number, ...others]);
    await using server = await EtcdServer.start({
      binary: realEtcds[0] as (typeof realEtcds)[number],
      electionTimeoutMs: 100,
    });
    expect(server.endpoint).not.toBe(`127.0.0.1:${taken}`);
    expect(await server.etcdctl("put", "k", "v")).toBe("OK");
    // Once by this test, once for the taken port, once for the others.
    expect(freePorts).toHaveBeenCalledTimes(3);
  },
);
