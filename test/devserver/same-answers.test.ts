import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdServer } from "../support/etcd-server.ts";
import { kvCases } from "./kv-cases.ts";
import { leaseCases } from "./lease-cases.ts";
import { RawClient } from "./raw-client.ts";
import { serviceCases } from "./service-cases.ts";
import { type Case, Transcript } from "./transcript.ts";
import { watchCases } from "./watch-cases.ts";

const cases: readonly Case[] = [...kvCases, ...leaseCases, ...watchCases, ...serviceCases];

/** Each case runs on both servers, and every answer must be the same. */
describe.each(realEtcds)("the development server answers as etcd $version does", (binary) => {
  let etcd: EtcdServer;
  let devServer: DevServer;
  beforeAll(async () => {
    [etcd, devServer] = await Promise.all([EtcdServer.start({ binary }), DevServer.start()]);
  });
  afterAll(() => Promise.all([etcd.close(), devServer.close()]));

  for (const { title, only, run } of cases) {
    if (only !== undefined && !only.includes(binary.version)) continue;
    test(title, async () => {
      expect(await answers(devServer.endpoint, run)).toEqual(await answers(etcd.endpoint, run));
    });
  }
});

test.skipIf(realEtcds.length === 0)("there is a real etcd to compare with", () => {
  expect(realEtcds).not.toHaveLength(0);
});

async function answers(endpoint: string, run: Case["run"]): Promise<unknown[]> {
  const client = new RawClient(endpoint);
  try {
    const transcript = await Transcript.begin(client);
    await run(transcript);
    expect(transcript.lines).not.toHaveLength(0);
    return transcript.lines;
  } finally {
    client.close();
  }
}
