import type { Clock } from "../../src/clock.ts";
import type { Cause } from "../../src/errors.ts";
import { Member } from "../../src/member/member.ts";
import type { MemberSettings } from "../../src/member/options.ts";
import { Ledger, type Link, type TestEtcd, TestServer, VirtualEtcd } from "../../src/testing/index.ts";
import { eventually } from "../support/eventually.ts";

export const election = "/merc";

/** A member on a link of its own, and why its terms and candidacies ended. */
export interface Stand {
  readonly member: Member;
  readonly link: Link;
  readonly causes: Cause[];
}

/** An etcd for tests, with members on it, whichever time it lives in. */
export interface Scene extends AsyncDisposable {
  readonly etcd: TestEtcd;
  readonly ledger: Ledger;
  link(): Promise<Link>;
  join(id: string, settings?: Partial<MemberSettings>): Promise<Stand>;
  /** Lets time pass until the assertion holds. */
  until(assertion: () => unknown): Promise<void>;
  /** Lets time pass until the promise has settled. */
  result<T>(promise: Promise<T>): Promise<T>;
}

/** The two kinds of etcd for tests, which must behave alike. */
export const doubles: readonly { readonly name: string; readonly open: () => Promise<Scene> }[] = [
  {
    name: "on sockets",
    open: async () => {
      const etcd = await TestServer.start();
      const until = async (assertion: () => unknown): Promise<void> =>
        void (await eventually(assertion, { timeoutMs: 20_000 }));
      return scene(etcd, () => etcd.link(), undefined, until);
    },
  },
  {
    name: "in virtual time",
    open: async () => {
      const etcd = new VirtualEtcd();
      const until = async (assertion: () => unknown): Promise<void> => {
        for (let tries = 400; ; tries--) {
          await etcd.clock.advance(50);
          try {
            await assertion();
            return;
          } catch (error) {
            if (tries === 0) throw error;
          }
        }
      };
      return scene(etcd, async () => etcd.link(), etcd.clock, until);
    },
  },
];

function scene(
  etcd: TestEtcd,
  link: () => Promise<Link>,
  clock: Clock | undefined,
  until: Scene["until"],
): Scene {
  const ledger = new Ledger(clock === undefined ? {} : { clock });
  const stands: Stand[] = [];
  const result = async <T>(promise: Promise<T>): Promise<T> => {
    let settled = false;
    const note = (): void => {
      settled = true;
    };
    promise.then(note, note);
    await until(() => {
      if (!settled) throw new Error("the promise is pending");
    });
    return promise;
  };
  return {
    ...{ etcd, ledger, link, until, result },
    join: async (id, settings = {}) => {
      const own = await link();
      const options = { etcd: own.client(), election, id, ttlSeconds: 5, lead: ledger.lead(id), ...settings };
      const member = await result(Member.join(options));
      const stand: Stand = { member, link: own, causes: [] };
      stands.push(stand);
      void note(stand);
      return stand;
    },
    [Symbol.asyncDispose]: async () => {
      await etcd.heal();
      await result(Promise.all(stands.map(({ member }) => member.leave())));
      await etcd.close();
    },
  };
}

async function note({ member, causes }: Stand): Promise<void> {
  for await (const { cause } of member.changes()) {
    if (cause !== undefined && cause !== causes.at(-1)) causes.push(cause);
  }
}
