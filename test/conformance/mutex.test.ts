import { expect, test } from "vitest";
import { Mutex } from "../../src/concurrency/mutex.ts";
import { Observer } from "../../src/concurrency/observer.ts";
import { Session } from "../../src/concurrency/session.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { eventually } from "../support/eventually.ts";
import { Child } from "../support/processes.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { onEveryStore } from "./stores.ts";

onEveryStore("a mutex", (store) => {
  const mutex = async (name: string): Promise<Mutex> => new Mutex(await Session.open(store.client()), name);

  const standing = (name: string, count: number) =>
    eventually(async () => expect(await new Observer(store.client(), name).candidates()).toHaveLength(count));

  test("is held by one at a time, in the order of asking", async () => {
    const name = store.key("m");
    let holders = 0;
    const order: number[] = [];
    const all = [];
    const holding = await mutex(name);
    await holding.lock();
    for (let at = 0; at < 8; at++) {
      const each = await mutex(name);
      all.push(
        each.lock().then(async (held) => {
          expect(++holders).toBe(1);
          order.push(at);
          expect(held.remainingMs).toBeGreaterThan(0);
          await store.client().range(name);
          holders--;
          await each.unlock();
          expect(held.remainingMs).toBe(0);
        }),
      );
      await standing(name, at + 2);
    }
    await holding.unlock();
    await Promise.all(all);
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    await standing(name, 0);
  });

  test("tryLock takes it if it is free, else rejects with LOCKED and leaves no key", async () => {
    const name = store.key("m");
    const [one, two] = [await mutex(name), await mutex(name)];
    await one.tryLock();
    await expect(two.tryLock()).rejects.toMatchObject({ code: "LOCKED" });
    await standing(name, 1);
    await expect(one.tryLock()).rejects.toMatchObject({ code: "LOCKED" });
    await one.unlock();
    await two.tryLock();
    await expect(one.tryLock()).rejects.toMatchObject({ code: "LOCKED" });
    await two.unlock();
  });

  test("excludes the tasks of one session from each other, in the order of asking", async () => {
    const name = store.key("m");
    const session = await Session.open(store.client());
    const [one, two, three] = [new Mutex(session, name), new Mutex(session, name), new Mutex(session, name)];
    await one.lock();
    const order: string[] = [];
    const given = new AbortController();
    const rest = [
      two.lock().then(() => order.push("two")),
      expect(new Mutex(session, name).lock({ signal: given.signal })).rejects.toThrow("enough"),
      three.lock().then(() => order.push("three")),
    ];
    await expect(two.unlock()).rejects.toMatchObject({ code: "NOT_LEADER" });
    given.abort(new Error("enough"));
    await one.unlock();
    await rest[0];
    await expect(one.unlock()).rejects.toMatchObject({ code: "NOT_LEADER" });
    expect(order).toEqual(["two"]);
    await two.unlock();
    await Promise.all(rest);
    await three.unlock();
    expect(order).toEqual(["two", "three"]);
    await standing(name, 0);
  });

  test("tryLock does not end the waiting of the same session", async () => {
    const name = store.key("m");
    const [one, two] = [await mutex(name), await mutex(name)];
    await one.lock();
    const waiting = two.lock();
    await standing(name, 2);
    await expect(two.tryLock()).rejects.toMatchObject({ code: "LOCKED" });
    await one.unlock();
    expect((await waiting).remainingMs).toBeGreaterThan(0);
  });

  test("lock right after a tryLock of the same session that fails gets its turn", async () => {
    const name = store.key("m");
    const [one, two] = [await mutex(name), await mutex(name)];
    await one.lock();
    const failing = expect(two.tryLock()).rejects.toMatchObject({ code: "LOCKED" });
    const waiting = two.lock();
    await failing;
    await standing(name, 2);
    await one.unlock();
    expect((await waiting).remainingMs).toBeGreaterThan(0);
  });

  test("unlock of what is not held rejects with NOT_LEADER, while waiting too", async () => {
    const name = store.key("m");
    const [one, two] = [await mutex(name), await mutex(name)];
    await expect(one.unlock()).rejects.toMatchObject({ code: "NOT_LEADER" });
    await one.lock();
    const waiting = two.lock();
    await standing(name, 2);
    await expect(two.unlock()).rejects.toMatchObject({ code: "NOT_LEADER" });
    await one.unlock();
    await expect(one.unlock()).rejects.toMatchObject({ code: "NOT_LEADER" });
    await waiting;
  });

  test("an unlock that failed can be repeated, and frees it", async () => {
    const name = store.key("m");
    const proxy = await TcpProxy.start({ target: store.endpoint });
    const etcd = store.client({ endpoints: [proxy.endpoint] });
    const one = new Mutex(await Session.open(etcd), name);
    const held = await one.lock();
    await proxy.blackHole();
    await expect(one.unlock({ timeoutMs: 300 })).rejects.toMatchObject({ code: "ETCD_UNAVAILABLE" });
    expect(held.remainingMs).toBe(0);
    proxy.resetAll();
    await proxy.heal();
    await one.unlock();
    await standing(name, 0);
    await etcd.close();
    await proxy.close();
  });

  test("a wait whose session closes rejects, and the mutex stays free for others", async () => {
    const name = store.key("m");
    const one = await mutex(name);
    await one.lock();
    const session = await Session.open(store.client());
    const waiting = new Mutex(session, name).lock();
    // The key may stand in etcd before the answer to its putting is here.
    const code = expect.stringMatching(/^(SESSION|CANDIDACY)_LOST$/);
    const lost = expect(waiting).rejects.toMatchObject({ code, endCause: "closed" });
    await Promise.all([lost, standing(name, 2).then(() => session.close())]);
    await one.unlock();
    await standing(name, 0);
    await (await mutex(name)).tryLock();
  });

  test("a lock that is given up leaves no key", async () => {
    const name = store.key("m");
    const [one, two] = [await mutex(name), await mutex(name)];
    await one.lock();
    const abort = new AbortController();
    const waiting = two.lock({ signal: abort.signal });
    await standing(name, 2);
    abort.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    await standing(name, 1);
  });

  for (const binary of realEtcds) {
    const etcdctl = (...args: string[]): Child =>
      Child.start({
        command: binary.etcdctl,
        args: [`--endpoints=${store.endpoint}`, ...args],
        env: { ...process.env, ETCDCTL_API: "3" },
        keepInputOpen: true,
      });

    test(`excludes etcdctl ${binary.version} lock, and is excluded by it`, async () => {
      const name = store.key("m");
      const one = await mutex(name);
      await one.lock();
      const go = etcdctl("lock", name);
      await standing(name, 2);
      expect(go.lines).toEqual([]);
      await one.unlock();
      await go.waitFor(`${name}/`, 15_000);
      await expect(one.tryLock()).rejects.toMatchObject({ code: "LOCKED" });
      let locked = false;
      const waiting = one.lock().then((held) => {
        locked = true;
        return held;
      });
      await standing(name, 2);
      expect(locked).toBe(false);
      await go.kill("SIGINT");
      expect((await waiting).remainingMs).toBeGreaterThan(0);
      await one.unlock();
    });
  }
});
