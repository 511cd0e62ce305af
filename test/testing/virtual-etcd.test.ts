import { expect, test } from "vitest";
import { Member } from "../../src/member/member.ts";
import { Ledger, ManualClock, VirtualEtcd } from "../../src/testing/index.ts";

/** A leader is cut off, and comes back behind its successor; what the ledger and the line say of it. */
async function failover(): Promise<object> {
  const etcd = new VirtualEtcd();
  const { clock } = etcd;
  const ledger = new Ledger({ clock });
  const link = etcd.link();
  const join = (id: string, via = etcd.link()) =>
    Member.join({ etcd: via.client(), election: "/merc", id, ttlSeconds: 10, lead: ledger.lead(id) });
  const members = [await join("a", link), await join("b")];
  await clock.advance(3_000);
  link.silent();
  await clock.advance(60_000);
  await link.heal();
  await clock.advance(60_000);
  const story = { spells: ledger.spells, line: etcd.line("/merc"), overlaps: ledger.overlaps };
  await Promise.all([...members.map((member) => member.leave()), clock.advance(0)]);
  await etcd.close();
  expect(clock.pending).toBe(0);
  return story;
}

test("two minutes of a failover are the same each time, and leave no timer", async () => {
  const first = await failover();
  expect(first).toMatchObject({
    spells: [
      { who: "a", start: 0 },
      { who: "b", end: 123_000 },
    ],
    line: [{ id: "b" }, { id: "a" }],
    overlaps: [],
  });
  expect(await failover()).toEqual(first);
});

test("a delay is kept to the millisecond, in each direction", async () => {
  const clock = new ManualClock({ seed: 7 });
  await using etcd = new VirtualEtcd({ clock });
  const client = etcd.client();
  etcd.delay(200, { way: "toServer" });
  etcd.delay(50, { way: "toClient" });
  let answered = false;
  const put = client.put("/x", "1").then(() => {
    answered = true;
  });
  await clock.advance(199);
  expect(etcd.backup().revision).toBe(1n);
  await clock.advance(1);
  expect(etcd.backup().revision).toBe(2n);
  await clock.advance(49);
  expect(answered).toBe(false);
  await clock.advance(1);
  await put;
});

test("a process that was suspended knows on its first instruction that it leads no more", async () => {
  await using etcd = new VirtualEtcd();
  const member = await Member.join({ etcd: etcd.client(), election: "/merc", id: "a" });
  await etcd.clock.advance(0);
  expect(member.role).toBe("leader");
  etcd.clock.jump(60_000);
  expect(member.role).toBe("standby");
  await Promise.all([member.leave(), etcd.clock.advance(5_000)]);
});

test.each([
  [() => new VirtualEtcd({ clock: {} as never }), "clock must be a ManualClock, got an object"],
  [() => new VirtualEtcd({ seed: 1 } as never), 'options must be without unknown fields, got "seed"'],
  [() => new ManualClock({ seed: 0.5 }), "seed must be a whole number, got 0.5"],
  [() => new ManualClock().jump(-1), "ms must be a number of milliseconds, 0 or more, got -1"],
  [() => new Ledger({ clock: 1 as never }), "clock must be a clock, such as a ManualClock, got 1"],
  [() => new Ledger().lead(""), 'who must be a name, got ""'],
  [() => new Ledger().lead("a", 1 as never), "work must be a function, got 1"],
])("%s is refused with the field and the value", (call, message) => {
  expect(call).toThrow(expect.objectContaining({ code: "BAD_OPTION", message }));
});

test("a clock cannot be advanced by what is no time", async () => {
  await expect(new ManualClock().advance(Number.NaN)).rejects.toMatchObject({ code: "BAD_OPTION" });
});
