import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Observer } from "../../src/concurrency/observer.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import { succession } from "../cli/succession.ts";
import { appPassword, SecuredEtcd } from "../etcd/secured-etcd.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import type { Child } from "../support/processes.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { Browsing } from "./browsing.ts";

let browsing: Browsing;
beforeAll(async () => {
  browsing = await Browsing.open();
});
afterAll(() => browsing.close());

const rounds = 5;
/** What the page is held to, and what a machine with other things to do may need once in a while. */
const wantedMs = 500;
const leniencyMs = 5_000;

/** The instant on the wall clock, which this process and the browser read alike. */
const instant = (): number => performance.timeOrigin + performance.now();

/** Has the page write down when it shows another leader. */
async function writeDown(page: Page): Promise<void> {
  await page.evaluate(() => {
    const node = document.querySelector(".leader .id") as HTMLElement;
    const seen: [string, number][] = [];
    Object.assign(globalThis, { seen });
    new MutationObserver(() => {
      seen.push([node.textContent ?? "", performance.timeOrigin + performance.now()]);
    }).observe(node, { childList: true, characterData: true, subtree: true });
  });
}

test("a failover is on the page within 500 ms of the event", async () => {
  const election = browsing.election();
  const children = new Map<string, Child>();
  const stand = async (id: string): Promise<void> => {
    const child = succession([
      "elect",
      election,
      id,
      "--ttl",
      "3",
      "--endpoints",
      browsing.endpoint,
      "--json",
    ]);
    children.set(id, child);
    await child.waitFor('"event":"candidate"', 30_000);
  };
  for (const id of ["a", "b", "c"]) await stand(id);
  const dashboard = await browsing.dashboard({ elections: [election] });
  const { page, faults } = await browsing.page();
  await page.goto(dashboard.url);
  await page.locator(".line tbody tr").nth(2).waitFor();
  await writeDown(page);
  const stop = new AbortController();
  // On a connection of its own: the same event, by the same way.
  const etcd = new Etcd({ endpoints: [browsing.endpoint] });
  const observed: [string, number][] = [];
  const observing = (async () => {
    for await (const leader of new Observer(etcd, election).observe({ signal: stop.signal })) {
      if (leader !== undefined) observed.push([leader.id, instant()]);
    }
  })().catch(() => {});
  const tookMs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const leader = (await page.textContent(".leader .id")) ?? "";
    await children.get(leader)?.kill("SIGKILL");
    await expect.poll(() => page.textContent(".leader .id"), { timeout: 30_000 }).not.toBe(leader);
    const now = (await page.textContent(".leader .id")) ?? "";
    await expect.poll(() => observed.at(-1)?.[0], { timeout: 30_000 }).toBe(now);
    const seen = await page.evaluate(() => (globalThis as unknown as { seen: [string, number][] }).seen);
    const shownAt = seen.findLast(([id]) => id === now)?.[1] ?? Number.NaN;
    tookMs.push(Math.round(shownAt - (observed.at(-1)?.[1] ?? 0)));
    await stand(leader);
    await expect.poll(() => page.locator(".line tbody tr").count(), { timeout: 30_000 }).toBe(3);
  }
  process.stdout.write(`a failover is on the page after ${tookMs.join(", ")} ms\n`);
  stop.abort();
  await observing;
  await etcd.close();
  await Promise.all([...children.values()].map((child) => child.kill()));
  const [median = Number.NaN] = tookMs.toSorted((a, b) => a - b).slice(Math.floor(rounds / 2));
  expect(median).toBeLessThan(wantedMs);
  expect(Math.max(...tookMs)).toBeLessThan(leniencyMs);
  expect(faults).toEqual([]);
  await page.context().close();
});

test("it says that it shows old data while the server is away, and comes back by itself", async () => {
  const election = browsing.election();
  const a = await browsing.join(election, "a");
  const first = await browsing.dashboard({ elections: [election] });
  const { page, faults } = await browsing.page();
  await page.goto(first.url);
  await page.getByText("Live", { exact: true }).waitFor();
  await page.locator(".leader .id", { hasText: "a" }).waitFor();
  await first.close();
  await page.getByText(/No connection to the dashboard's server\. What you see is \d+ s old/).waitFor();
  expect(await page.locator(".badge", { hasText: "Old data" }).count()).toBe(1);
  expect(await page.title()).toContain("Old data");
  expect(await page.getByRole("button", { name: "Hand over…" }).isDisabled()).toBe(true);
  await browsing.keep(page, "old-data");
  await browsing.join(election, "b");
  await a.leave();
  await browsing.dashboard({ elections: [election], port: Number(new URL(first.url).port) });
  await page.getByText("Live", { exact: true }).waitFor();
  await page.locator(".leader .id", { hasText: "b" }).waitFor();
  expect(await page.locator(".banner.stale").isVisible()).toBe(false);
  expect(faults).toEqual([]);
  await page.context().close();
});

test("it says that it shows old data while etcd does not answer", async () => {
  const election = browsing.election();
  await browsing.join(election, "a");
  const proxy = await TcpProxy.start({ target: browsing.endpoint });
  const etcd = new Etcd({ endpoints: [proxy.endpoint] });
  const dashboard = await browsing.dashboard({ etcd, elections: [election] });
  const { page, faults } = await browsing.page();
  await page.goto(dashboard.url);
  await page.locator(".leader .id", { hasText: "a" }).waitFor();
  await proxy.blackHole();
  await page.getByText(/gets no answer from etcd\. What you see is \d+ s old/).waitFor();
  await browsing.join(election, "b");
  await proxy.heal();
  await page.getByText("Live", { exact: true }).waitFor();
  await page.locator(".line tbody tr").nth(1).waitFor();
  expect(faults).toEqual([]);
  await page.context().close();
  await dashboard.close();
  await etcd.close();
  await proxy.close();
});

describe.skipIf(realEtcds.length === 0)("without the right to read everything", () => {
  test("it shows the line and says what is missing, and what must be named", async () => {
    const binary = realEtcds.at(-1) as (typeof realEtcds)[number];
    await using secured = await SecuredEtcd.start({ binary, tokens: "simple" });
    await secured.enable();
    const etcd = new Etcd({ endpoints: [secured.server.endpoint], user: "app", password: appPassword });
    const election = "/app/merc";
    const { ID } = await etcd.leaseGrant(600);
    await etcd.put(`${election}/${ID.toString(16)}`, "a", { lease: ID });
    const named = await browsing.dashboard({ etcd, elections: [election, "/secret"] });
    const { page, faults } = await browsing.page();
    await page.goto(named.url);
    await page.locator(".leader .id", { hasText: "a" }).waitFor();
    await page.getByText(/may not read what members tell/).waitFor();
    await page.goto(`${named.url}#%2Fsecret`);
    await page.getByText(/The election cannot be read: .*\/secret\//).waitFor();
    const all = await browsing.dashboard({ etcd });
    await page.goto(all.url);
    await page
      .getByText(/The elections cannot be listed; name them with --election\. .*_succession/)
      .waitFor();
    expect(faults).toEqual([]);
    await page.context().close();
    await Promise.all([named.close(), all.close()]);
    await etcd.close();
  });
});

test("the demo shows itself in a browser, through a crash and a handover", async () => {
  const place = ["--dashboard", "127.0.0.1:0"];
  await using demo = succession(["demo", "--rounds", "2", "--every", "3", "--ttl", "4", ...place]);
  const [url = ""] = /http:\S+/.exec(await demo.waitFor("the same in a browser", 30_000)) ?? [];
  const { page, faults } = await browsing.page();
  await page.goto(url);
  await page.locator(".leader .id", { hasText: "dc" }).waitFor();
  // Each change of leader makes one more.
  await page.locator(".term").nth(2).waitFor({ timeout: 120_000 });
  expect(await demo.exit).toEqual({ code: 0, signal: null });
  await page.locator(".badge", { hasText: "Old data" }).waitFor();
  expect(faults).toEqual([]);
  await page.context().close();
});
