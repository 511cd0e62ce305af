import { Dashboard } from "../../src/dashboard/dashboard.ts";
import type { DashboardOptions } from "../../src/dashboard/options.ts";
import type { Etcd } from "../../src/etcd/etcd.ts";
import { Member } from "../../src/member/member.ts";
import type { MemberSettings } from "../../src/member/options.ts";
import { VirtualEtcd } from "../../src/testing/index.ts";
import { notebook, type Said } from "../member/world.ts";
import { eventually } from "../support/eventually.ts";
import { type Answer, type AskOptions, ask, Viewer } from "./viewer.ts";

export const election = "/merc";
export const token = "the-token-of-the-tests";

/** A dashboard on a real port over an etcd without sockets, whose time the test moves. */
export class Stage {
  readonly etcd: VirtualEtcd;
  /** The dashboard's own way to etcd. */
  readonly link: ReturnType<VirtualEtcd["link"]>;
  readonly client: Etcd;
  readonly said: readonly Said[];
  readonly dashboard: Dashboard;
  readonly #viewers: Viewer[] = [];

  static async open({
    token: given = token,
    ...options
  }: Partial<Omit<DashboardOptions, "token">> & { readonly token?: string | null } = {}): Promise<Stage> {
    const etcd = new VirtualEtcd();
    const link = etcd.link();
    const client = link.client();
    const { logger, said } = notebook();
    const known = given === null ? {} : { token: given };
    const dashboard = await Dashboard.open({ etcd: client, port: 0, logger, ...known, ...options });
    return new Stage(etcd, link, client, said, dashboard);
  }

  private constructor(
    etcd: VirtualEtcd,
    link: ReturnType<VirtualEtcd["link"]>,
    client: Etcd,
    said: readonly Said[],
    dashboard: Dashboard,
  ) {
    this.etcd = etcd;
    this.link = link;
    this.client = client;
    this.said = said;
    this.dashboard = dashboard;
  }

  async join(id: string, settings: Partial<MemberSettings> = {}): Promise<Member> {
    const member = await Member.join({ etcd: this.etcd.link().client(), election, id, ...settings });
    await this.etcd.clock.advance(0);
    return member;
  }

  async leave(member: Member): Promise<void> {
    let left = false;
    const leaving = member.leave().then(() => {
      left = true;
    });
    await this.until(() => left);
    await leaving;
  }

  ask(path: string, options: AskOptions = {}): Promise<Answer> {
    return ask(this.dashboard.url, path, options);
  }

  /** Sends a command as the page does, and lets time pass until it is answered. */
  async command(name: string, body: object, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    let answer: Answer | undefined;
    const sent = ask(this.dashboard.url, `/api/${name}`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    }).then((received) => {
      answer = received;
    });
    await this.until(() => answer !== undefined);
    await sent;
    return answer as Answer;
  }

  async look(at: string | undefined = election): Promise<Viewer> {
    const viewer = await Viewer.open(this.dashboard.url, at);
    this.#viewers.push(viewer);
    return viewer;
  }

  /** Lets time pass, in the store's world and in the sockets', until something is so. */
  async until(condition: () => boolean): Promise<void> {
    await eventually(
      async () => {
        await this.etcd.clock.advance(100);
        if (!condition()) throw new Error("it is not so");
      },
      { everyMs: 2, timeoutMs: 20_000 },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const viewer of this.#viewers) viewer.close();
    const closed = this.dashboard.close();
    let done = false;
    void closed.then(() => {
      done = true;
    });
    await this.until(() => done);
    await this.etcd.close();
  }
}
