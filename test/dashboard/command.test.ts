import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { parseArguments } from "../../src/cli/arguments.ts";
import type { Context } from "../../src/cli/command.ts";
import { dashboard } from "../../src/cli/dashboard.ts";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { succession } from "../cli/succession.ts";
import { ask } from "./viewer.ts";

describe("succession dashboard", () => {
  test("serves the page until it is told to stop", async () => {
    const server = await DevServer.start();
    onTestFinished(() => server.close());
    const folder = mkdtempSync(join(tmpdir(), "succession-dashboard-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const file = join(folder, "token");
    writeFileSync(file, "the-token-of-the-tests\n");
    const place = ["--listen", "127.0.0.1:0", "--endpoints", server.endpoint];
    await using child = succession(["dashboard", "--json", "--token-file", file, ...place]);
    const { url, ...said } = JSON.parse(await child.waitFor('"event":"listening"', 30_000));
    expect(said).toEqual({ event: "listening", steering: true, time: expect.any(String) });
    const page = await ask(url, "/");
    expect([page.status, page.headers["content-type"]]).toEqual([200, "text/html; charset=utf-8"]);
    const tag = page.headers.etag ?? "";
    expect(await ask(url, "/", { headers: { "if-none-match": tag } })).toMatchObject({
      status: 304,
      text: "",
    });
    // Whatever the page names is there.
    const named = [...page.text.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, name]) => `/${name}`);
    const { link } = page.headers;
    const preloaded = [...String(link).matchAll(/<([^>]+)>/g)].map(([, name]) => `/${name}`);
    expect(named).toContain("/main.js");
    for (const path of [...named, ...preloaded])
      expect([path, (await ask(url, path)).status]).toEqual([path, 200]);
    const headers = { authorization: "Bearer the-token-of-the-tests", "content-type": "application/json" };
    expect((await ask(url, "/api/token", { method: "POST", headers, body: "{}" })).status).toBe(200);
    expect(await child.kill("SIGTERM")).toEqual({ code: 0, signal: null });
    expect(child.stdout + child.stderr).not.toContain("the-token");
  });

  test.each<[string, readonly string[], Record<string, string>, RegExp]>([
    ["an argument", ["/merc"], {}, /^unexpected argument "\/merc"/],
    ["an election with a trailing /", ["--election", "/merc/"], {}, /^--election must be .* got "\/merc\/"/],
    ["no port", ["--listen", "localhost"], {}, /^--listen must be HOST:PORT/],
    ["a file that is not there", ["--token-file", "/nowhere"], {}, /^--token-file must be .*ENOENT/],
    [
      "a token too short",
      [],
      { SUCCESSION_DASHBOARD_TOKEN: "short" },
      /^SUCCESSION_DASHBOARD_TOKEN must be 16/,
    ],
    ["a host with a scheme", ["--allow-host", "https://a"], {}, /^--allow-host must be a name/],
  ])("names what is wrong: %s", async (_title, args, env, message) => {
    const context = { arguments: parseArguments(args, dashboard), env } as unknown as Context;
    await expect(dashboard.run(context)).rejects.toThrow(message);
    await expect(dashboard.run(context)).rejects.toMatchObject({ name: "UsageError" });
  });
});
