import { expect, test } from "vitest";
import { Hindrance } from "../../src/cli/hindrance.ts";
import { Member } from "../../src/member/member.ts";
import { VirtualEtcd } from "../../src/testing/virtual-etcd.ts";
import { notebook } from "../member/world.ts";

test("what keeps a member out of the line is told once for each reason, and not during an outage", async () => {
  const etcd = new VirtualEtcd();
  const told: string[] = [];
  let away = true;
  const trouble = (code: string, message: string): void => void told.push(`${code} ${message}`);
  const { logger, said } = notebook();
  const hindrance = new Hindrance(logger, { trouble }, () => away);
  etcd.noSpace();
  const client = etcd.client();
  const joining = Member.join({ etcd: client, election: "/merc", id: "a", logger: hindrance.logger });
  await etcd.clock.advance(15_000);
  expect(told).toEqual([]);
  away = false;
  await etcd.clock.advance(60_000);
  expect(said.filter(({ level }) => level === "warn").length).toBeGreaterThan(3);
  expect(told).toEqual([expect.stringMatching(/^ETCD_UNAVAILABLE cannot join .*database space exceeded/)]);
  await etcd.heal();
  await etcd.clock.advance(15_000);
  expect((await joining).role).toBe("leader");
  await etcd.close();
});
