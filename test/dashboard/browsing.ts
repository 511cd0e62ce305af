import { join } from "node:path";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { candidateKey } from "../../src/concurrency/naming.ts";
import { Dashboard } from "../../src/dashboard/dashboard.ts";
import type { DashboardOptions } from "../../src/dashboard/options.ts";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import { putOp } from "../../src/etcd/ops.ts";
import { detailsKey } from "../../src/member/details.ts";
import { Member } from "../../src/member/member.ts";
import type { MemberSettings } from "../../src/member/options.ts";
import { recordKey } from "../../src/member/term-record.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdServer } from "../support/etcd-server.ts";

export const token = "the-token-of-the-tests";

const { CHROMIUM: executablePath = "", SCREENSHOTS: screenshots = "" } = process.env;
const builtPage = new URL("../../dist/dashboard/page/", import.meta.url);

/** A real Chromium before a dashboard over a real etcd, where there is one. */
export class Browsing {
  readonly endpoint: string;
  readonly etcd: Etcd;
  readonly browser: Browser;
  readonly #closes: (() => Promise<unknown>)[] = [];
  #names = 0;

  static async open(): Promise<Browsing> {
    if (executablePath === "") throw new Error("CHROMIUM names no browser; use npm run browser");
    const binary = realEtcds.at(-1);
    const store = binary === undefined ? await DevServer.start() : await EtcdServer.start({ binary });
    // A name that an attacker could have made point here.
    const args = ["--host-resolver-rules=MAP evil.example 127.0.0.1"];
    const browser = await chromium.launch({ executablePath, args });
    return new Browsing(store, browser);
  }

  private constructor(store: { readonly endpoint: string; close(): Promise<void> }, browser: Browser) {
    this.endpoint = store.endpoint;
    this.etcd = new Etcd({ endpoints: [store.endpoint] });
    this.browser = browser;
    this.#closes.push(
      () => store.close(),
      () => this.etcd.close(),
      () => browser.close(),
    );
  }

  /** A name that no other test uses. */
  election(): string {
    return `/merc-${++this.#names}`;
  }

  /** One that can be steered. */
  dashboard(options: Partial<DashboardOptions> = {}): Promise<Dashboard> {
    return this.readOnly({ token, ...options });
  }

  async readOnly(options: Partial<DashboardOptions> = {}): Promise<Dashboard> {
    const dashboard = await Dashboard.open({ etcd: this.etcd, port: 0, pageFolder: builtPage, ...options });
    this.#closes.push(() => dashboard.close());
    return dashboard;
  }

  async join(election: string, id: string, settings: Partial<MemberSettings> = {}): Promise<Member> {
    const member = await Member.join({ etcd: this.etcd, election, id, worker: false, ...settings });
    this.#closes.push(() => member.leave());
    return member;
  }

  /** A candidate that is a key and what is told about it, and lives long. */
  async stand(election: string, id: string, details?: object): Promise<void> {
    const { ID } = await this.etcd.leaseGrant(600);
    const told = details === undefined ? [] : [putOp(detailsKey(election, ID), JSON.stringify(details), ID)];
    await this.etcd.txn({ success: [putOp(candidateKey(election, ID), id, ID), ...told] });
  }

  /** Past terms, one a minute, by turns of these leaders. */
  async remember(election: string, leaders: readonly string[], count: number): Promise<void> {
    const causes = ["handover", "deadline", "lease-gone", "resigned", "hung"];
    const now = this.etcd.clock.date().getTime();
    for (let at = 0; at < count; at++) {
      const startedAt = new Date(now - (count - at) * 60_000);
      const endedAt = new Date(startedAt.getTime() + 58_000);
      const record = {
        ...{
          leader: leaders[at % leaders.length],
          zone: `dc${(at % 3) + 1}`,
          cause: causes[at % causes.length],
        },
        ...{ startedAt, endedAt, gapMs: [4, 2_000, 9_800, 130][at % 4] },
      };
      await this.etcd.put(recordKey(election, BigInt(at + 1)), JSON.stringify(record));
    }
  }

  /** A page, and what it has done that a page should not. */
  async page(
    options: BrowserContextOptions = {},
  ): Promise<{ readonly page: Page; readonly faults: string[] }> {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    const page = await context.newPage();
    const faults: string[] = [];
    page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
    page.on("dialog", (dialog) => {
      faults.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("console", (message) => {
      if (/Content Security Policy|Refused to/.test(message.text())) faults.push(message.text());
    });
    page.on("request", (request) => {
      const { hostname } = new URL(request.url());
      if (hostname !== "127.0.0.1") faults.push(`request: ${request.url()}`);
      if (request.url().includes(token)) faults.push("the token stands in an address");
    });
    return { page, faults };
  }

  /** Keeps what is seen where screenshots are wanted. */
  async keep(page: Page, name: string): Promise<void> {
    if (screenshots !== "") await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });
  }

  async close(): Promise<void> {
    for (const close of this.#closes.reverse()) await close();
  }
}

/** The address of an election on a dashboard. */
export function at(dashboard: Dashboard, election: string): string {
  return `${dashboard.url}#${encodeURIComponent(election)}`;
}
