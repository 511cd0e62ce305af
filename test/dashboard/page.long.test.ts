import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { at, Browsing } from "./browsing.ts";

let browsing: Browsing;
beforeAll(async () => {
  browsing = await Browsing.open();
});
afterAll(() => browsing.close());

/** What a machine with other things to do needs, at worst. */
const paintMs = 10_000;

async function standing(count: number): Promise<string> {
  const election = browsing.election();
  await browsing.remember(election, ["m0:10.0.0.0:8080", "m1:10.0.0.1:8080", "m2:10.0.0.2:8080"], 24);
  for (let n = 0; n < count; n++) {
    const address = `10.0.${n >> 8}.${n & 255}:8080`;
    const id = `m${n}:${address}`;
    const zone = `dc${(n % 3) + 1}`;
    const healthy = n % 7 !== 6;
    await browsing.stand(election, id, { id, address, zone, version: "0.1.0", priority: 100, healthy });
  }
  return election;
}

function overflow(page: Page): Promise<boolean> {
  return page.evaluate("document.documentElement.scrollWidth > innerWidth");
}

describe("the page", () => {
  test.each([3, 300])("shows %i candidates soon, and asks nobody else for anything", async (count) => {
    const election = await standing(count);
    const dashboard = await browsing.dashboard({ elections: [election] });
    const { page, faults } = await browsing.page();
    await page.goto(dashboard.url);
    await page.locator(".line tbody tr").nth(2).waitFor();
    const shownMs = await page.evaluate<number>("performance.now()");
    const firstMs = await page.evaluate<number>(
      'performance.getEntriesByName("first-contentful-paint")[0].startTime',
    );
    process.stdout.write(
      `${count} candidates: first paint ${Math.round(firstMs)} ms, all ${Math.round(shownMs)} ms\n`,
    );
    expect(shownMs).toBeLessThan(paintMs);
    expect(await page.locator(".leader .id").textContent()).toBe("m0:10.0.0.0:8080");
    await page.locator(".lease .left").first().filter({ hasText: /\d/ }).waitFor();
    expect(await page.locator(".term").count()).toBe(20);
    if (count > 12) {
      expect(await page.locator(".line tbody tr").count()).toBe(12);
      await page.getByRole("button", { name: `Show all ${count}` }).click();
      expect(await page.locator(".line tbody tr").count()).toBe(count);
      await page.getByRole("searchbox").fill("m299:");
      expect(await page.locator(".line tbody th").allTextContents()).toEqual(["m299:10.0.1.43:8080"]);
    }
    expect(await overflow(page)).toBe(false);
    expect(faults).toEqual([]);
    await page.context().close();
  });

  const odd: readonly (readonly [string, RegExp])[] = [
    ['<img src=x onerror="alert(1)">', /^<img src=x onerror="alert\(1\)">$/],
    ["</script><script>alert(2)</script>", /^<\/script><script>alert\(2\)<\/script>$/],
    [" spaces  and \"quotes\" 'both' & amp; ", /spaces {2}and "quotes" 'both' & amp;/],
    ["emoji 🚀 中文", /^emoji 🚀 中文$/],
    ["new\nline \u001b[31mred\u0000", /^new\\u\{a\}line \\u\{1b\}\[31mred\\u\{0\}$/],
    ["\u202egnitrats", /^\\u\{202e\}gnitrats$/],
    ["x".repeat(4_000), /^x{160}…$/],
    ["__proto__", /^__proto__$/],
  ];

  test.each([1_280, 390])(
    "takes no harm from ids, zones and reasons of any kind, at %i px",
    async (width) => {
      const election = `${browsing.election()}/<b>"x"\n🚀`;
      const [[evil = ""] = []] = odd;
      for (const [id] of odd)
        await browsing.stand(election, id, { id, zone: id.slice(0, 100), address: evil });
      await browsing.remember(
        election,
        odd.map(([id]) => id),
        12,
      );
      const key = `_succession/v1/${encodeURIComponent(election)}/pause`;
      await browsing.etcd.put(key, JSON.stringify({ reason: evil, by: evil, since: evil }));
      const dashboard = await browsing.dashboard({ elections: [election, browsing.election()] });
      const { page, faults } = await browsing.page({ viewport: { width, height: 844 } });
      await page.goto(dashboard.url);
      await page
        .locator(".line tbody tr")
        .nth(odd.length - 1)
        .waitFor();
      const shown = await page.locator(".line tbody th").allTextContents();
      for (const [n, [, expected]] of odd.entries()) expect(shown[n]).toMatch(expected);
      await page.locator(".term").last().focus();
      await page.getByRole("tooltip").first().waitFor();
      await page.locator("summary").click();
      expect(await page.locator("img, main script, b").count()).toBe(0);
      expect(await page.locator("h1").textContent()).toContain('<b>"x"\\u{a}🚀');
      expect(await overflow(page)).toBe(false);
      expect(faults).toEqual([]);
      await browsing.keep(page, `odd-${width}`);
      await page.context().close();
    },
  );

  test("speaks the reader's language, and remembers the one he chose", async () => {
    const election = await standing(3);
    const dashboard = await browsing.dashboard({ elections: [election] });
    const { page, faults } = await browsing.page({ locale: "zh-CN" });
    await page.goto(dashboard.url);
    await page.getByText("继任队列").waitFor();
    expect(await page.getAttribute("html", "lang")).toBe("zh-CN");
    await page.getByRole("button", { name: "English" }).click();
    await page.getByText("Line of succession").waitFor();
    expect(await page.getAttribute("html", "lang")).toBe("en");
    await page.reload();
    await page.getByText("Line of succession").waitFor();
    expect(faults).toEqual([]);
    await page.context().close();
  });

  test("fits wide and narrow screens, light and dark, in both languages", async () => {
    const election = await standing(9);
    const others = [browsing.election(), browsing.election()];
    await browsing.stand(others[0] as string, "p1:10.0.0.1:80");
    const dashboard = await browsing.dashboard({ elections: [election, ...others] });
    for (const width of [1_280, 390]) {
      for (const colorScheme of ["light", "dark"] as const) {
        for (const locale of ["en-US", "zh-CN"]) {
          const viewport = { width, height: 844 };
          const { page, faults } = await browsing.page({ viewport, colorScheme, locale });
          await page.goto(at(dashboard, election));
          await page.locator(".line tbody tr").nth(8).waitFor();
          await page.locator(".lease .left").first().filter({ hasText: /\d/ }).waitFor();
          expect(await overflow(page)).toBe(false);
          expect(faults).toEqual([]);
          await browsing.keep(page, `page-${width}-${colorScheme}-${locale}`);
          await page.context().close();
        }
      }
    }
  });
});

describe("somebody else's name", () => {
  test("that points here is refused, and so is another site's page", async () => {
    const election = await standing(1);
    const dashboard = await browsing.dashboard({ elections: [election] });
    const { port } = new URL(dashboard.url);
    const { page } = await browsing.page();
    const answer = await page.goto(`http://evil.example:${port}/`);
    expect(answer?.status()).toBe(403);
    expect(await page.textContent("body")).toContain("FOREIGN_HOST");
    const attempt = (call: string): Promise<string> =>
      page.evaluate<string>(`(async () => {
        try { return String((await ${call}).status); } catch { return "blocked"; }
      })()`);
    const headers = '{ authorization: "Bearer the-token-of-the-tests", "content-type": "application/json" }';
    const body = `JSON.stringify({ election: ${JSON.stringify(election)} })`;
    const url = `${dashboard.url}api/resume`;
    expect(await attempt(`fetch("${url}", { method: "POST", headers: ${headers}, body: ${body} })`)).toBe(
      "blocked",
    );
    expect(await attempt(`fetch("${dashboard.url}api/elections")`)).toBe("blocked");
    await page.context().close();
  });
});
