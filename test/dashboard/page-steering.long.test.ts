import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readPause } from "../../src/steering/pause.ts";
import { Browsing, token } from "./browsing.ts";

let browsing: Browsing;
beforeAll(async () => {
  browsing = await Browsing.open();
});
afterAll(() => browsing.close());

async function open(election: string, standing: number): Promise<{ page: Page; faults: string[] }> {
  const dashboard = await browsing.dashboard({ elections: [election] });
  const opened = await browsing.page();
  await opened.page.goto(dashboard.url);
  await opened.page
    .locator(".line tbody tr")
    .nth(standing - 1)
    .waitFor();
  return opened;
}

test("buttons hand over, pause and resume for who knows the token", async () => {
  const election = browsing.election();
  for (const id of ["a", "b", "c"]) await browsing.join(election, id);
  const { page, faults } = await open(election, 3);
  const dialog = page.getByRole("dialog");
  await page.getByRole("button", { name: "Hand over…" }).click();
  await dialog.getByLabel("Token").fill("not-the-token-of-the-tests");
  await dialog.getByRole("button", { name: "Unlock" }).click();
  await dialog.getByText("This is not the token of this dashboard.").waitFor();
  await dialog.getByLabel("Token").fill(token);
  await dialog.getByRole("button", { name: "Unlock" }).click();
  await dialog.getByText("Hand over the lead").first().waitFor();
  await browsing.keep(page, "handover");
  await dialog.getByLabel("New leader").selectOption({ label: "c" });
  await dialog.getByRole("button", { name: "Hand over the lead" }).click();
  await page.getByText(/^c leads now, .* after the request\.$/).waitFor();
  await page.locator(".leader .id", { hasText: "c" }).waitFor();

  await page.getByRole("button", { name: "Pause…" }).click();
  await dialog.getByRole("button", { name: "Pause the election" }).click();
  await dialog.getByText("Say why: others will see it.").waitFor();
  await dialog.getByLabel("Reason").fill("database upgrade");
  await dialog.getByLabel("Your name (optional)").fill("ann");
  await dialog.getByRole("button", { name: "Pause the election" }).click();
  await page.locator(".pause", { hasText: "database upgrade" }).waitFor();
  expect(await readPause(browsing.etcd, election)).toMatchObject({ reason: "database upgrade", by: "ann" });
  const held = page.getByRole("button", { name: "Hand over…" });
  expect(await held.isDisabled()).toBe(true);
  expect(await held.getAttribute("title")).toBe("Not while the election is paused");
  await browsing.keep(page, "paused");
  await page.getByRole("button", { name: "Resume…" }).click();
  await dialog.getByRole("button", { name: "End the pause" }).click();
  await page.getByText("The pause is over.").waitFor();
  await page.locator(".pause").waitFor({ state: "hidden" });
  expect(await readPause(browsing.etcd, election)).toBeUndefined();

  // The token is this tab's alone, and goes when it is told to.
  expect(await page.evaluate(() => JSON.stringify(localStorage) + document.cookie)).not.toContain(token);
  await page.getByRole("button", { name: "Lock", exact: true }).click();
  expect(await page.evaluate(() => JSON.stringify(sessionStorage))).not.toContain(token);
  expect(faults).toEqual([]);
  await page.context().close();
});

test("what is refused is told with the reason", async () => {
  const election = browsing.election();
  await browsing.stand(election, "a Go program");
  await browsing.join(election, "b");
  const { page, faults } = await open(election, 2);
  const dialog = page.getByRole("dialog");
  await page.getByRole("button", { name: "Hand over…" }).click();
  await dialog.getByLabel("Token").fill(token);
  await dialog.getByRole("button", { name: "Unlock" }).click();
  await dialog.getByRole("button", { name: "Hand over the lead" }).click();
  await dialog.getByText(/^Refused: "a Go program" leads, and cannot be asked/).waitFor();
  await browsing.keep(page, "refused");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  expect(await dialog.count()).toBe(0);
  expect(faults).toEqual([]);
  await page.context().close();
});

test("there is nothing to press where there is no token", async () => {
  const election = browsing.election();
  await browsing.join(election, "a");
  const dashboard = await browsing.readOnly({ elections: [election] });
  const { page, faults } = await browsing.page();
  await page.goto(dashboard.url);
  await page.locator(".line tbody tr").first().waitFor();
  await page.getByText("Read-only").waitFor();
  expect(await page.locator(".actions button:visible").count()).toBe(0);
  expect(faults).toEqual([]);
  await page.context().close();
});

test("everything can be done from the keyboard", async () => {
  const election = browsing.election();
  await browsing.remember(election, ["a", "b"], 6);
  for (const id of ["a", "b"]) await browsing.join(election, id);
  const { page, faults } = await open(election, 2);
  const { keyboard } = page;
  /** Goes on by Tab until the focus is on what is called so. */
  const tabTo = async (name: RegExp): Promise<void> => {
    for (let stops = 0; stops < 30; stops++) {
      await keyboard.press("Tab");
      const focused = await page.evaluate(() => {
        const { activeElement: element } = document;
        return element?.getAttribute("aria-label") ?? element?.textContent ?? "";
      });
      if (name.test(focused)) return;
    }
    throw new Error(`Tab does not come to ${name}`);
  };
  await tabTo(/^Pause…$/);
  await keyboard.press("Enter");
  await keyboard.type(token);
  await keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "Pause the election" });
  await dialog.waitFor();
  await keyboard.press("Escape");
  expect(await dialog.count()).toBe(0);
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("Pause…");
  await keyboard.press("Enter");
  await keyboard.type("typed");
  await keyboard.press("Enter");
  await page.locator(".pause", { hasText: "typed" }).waitFor();
  await tabTo(/^[ab], Token/);
  const tip = page.getByRole("tooltip");
  await tip.filter({ hasText: "Token" }).waitFor();
  const told = await tip.filter({ hasText: "Token" }).textContent();
  await keyboard.press("ArrowLeft");
  await expect.poll(() => tip.filter({ hasText: "Token" }).textContent()).not.toBe(told);
  await keyboard.press("Escape");
  expect(await tip.filter({ hasText: "Token" }).count()).toBe(0);
  await tabTo(/^Terms as a table/);
  await keyboard.press("Enter");
  await page.getByRole("columnheader", { name: "Ended by" }).waitFor();
  expect(faults).toEqual([]);
  await page.context().close();
});
