import { expect, test } from "vitest";
import { Election } from "../../src/concurrency/election.ts";
import { Observer } from "../../src/concurrency/observer.ts";
import { Session } from "../../src/concurrency/session.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { eventually } from "../support/eventually.ts";
import { Child } from "../support/processes.ts";
import { onEveryStore } from "./stores.ts";

const ttlMs = 15_000;

onEveryStore("an election shared with etcdctl", (store) => {
  const etcdctl = (binary: (typeof realEtcds)[number], ...args: string[]): Child =>
    Child.start({
      command: binary.etcdctl,
      args: [`--endpoints=${store.endpoint}`, ...args],
      env: { ...process.env, ETCDCTL_API: "3" },
      keepInputOpen: true,
    });

  const line = async (name: string): Promise<string[]> =>
    (await new Observer(store.client(), name).candidates()).map(({ id }) => id);

  for (const binary of realEtcds) {
    test(`passes on in the order of creation, ours and etcdctl ${binary.version}'s mixed, and both see the same leader`, async () => {
      const name = store.key("e");
      // u for ours, g for Go's.
      const ids = ["u0", "g1", "u2", "u3", "g4", "g5", "u6"];
      const listener = etcdctl(binary, "elect", "--listen", name);
      const order: string[] = [];
      const leave = new Map<string, () => Promise<unknown>>();
      for (const id of ids) {
        if (id.startsWith("u")) {
          const one = new Election(await Session.open(store.client()), name);
          void one.campaign(id).then(() => order.push(id));
          leave.set(id, () => one.resign());
        } else {
          const one = etcdctl(binary, "elect", name, id);
          void one.waitFor(id, ttlMs).then(() => order.push(id));
          leave.set(id, () => one.kill("SIGINT"));
        }
        await eventually(async () => expect((await line(name)).at(-1)).toBe(id));
      }
      const observer = new Observer(store.client(), name);
      for (const [at, id] of ids.entries()) {
        await eventually(() => expect(order).toEqual(ids.slice(0, at + 1)));
        expect((await observer.leader())?.id).toBe(id);
        await listener.waitFor((each) => each === id, ttlMs);
        expect(await line(name)).toEqual(ids.slice(at));
        await leave.get(id)?.();
      }
      expect(await observer.leader()).toBeUndefined();
      await listener.kill();
    });

    test(`is observed the same by us and by etcdctl ${binary.version}, new values too`, async () => {
      const name = store.key("e");
      const leaders = new Observer(store.client(), name).observe();
      expect((await leaders.next()).value).toBeUndefined();
      const listener = etcdctl(binary, "elect", "--listen", name);
      const go = etcdctl(binary, "elect", name, "go");
      expect((await leaders.next()).value).toMatchObject({ id: "go" });
      await listener.waitFor("go", ttlMs);
      // Stopped before it knows that it leads, etcdctl 3.5 leaves its key to its lease of 60 s.
      await go.waitFor("go", ttlMs);
      const ours = new Election(await Session.open(store.client()), name);
      const campaign = ours.campaign("ours");
      await eventually(async () => expect(await line(name)).toEqual(["go", "ours"]));
      await go.kill("SIGINT");
      expect((await leaders.next()).value).toMatchObject({ id: "ours" });
      await campaign;
      await listener.waitFor("ours", ttlMs);
      await ours.proclaim("anew");
      expect((await leaders.next()).value).toMatchObject({ id: "anew" });
      await listener.waitFor("anew", ttlMs);
      await leaders.return();
      await listener.kill();
    });
  }
});
