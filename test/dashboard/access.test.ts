import { describe, expect, test } from "vitest";
import { hostDenial, originDenial, tokenDenial } from "../../src/dashboard/access.ts";
import { checkDashboard } from "../../src/dashboard/options.ts";

describe("a host", () => {
  const { hosts } = checkDashboard({ port: 0, host: "dash.local", allowHosts: ["Failover.Example.org"] });

  test.each([
    "localhost",
    "LOCALHOST:8200",
    "localhost.:8200",
    "127.0.0.1:8200",
    "10.0.0.9",
    "[::1]:8200",
    "dash.local:8200",
    "failover.example.org",
  ])("of ours is answered: %s", (host) => expect(hostDenial(host, hosts)).toBeUndefined());

  test.each([
    undefined,
    "",
    "evil.example",
    "evil.example:8200",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "localhost@evil.example",
    "localhost:8200:1",
    "[::1",
    "[localhost]:8200",
    "localhost/",
  ])("of somebody else's is refused: %s", (host) => {
    expect(hostDenial(host, hosts)).toMatchObject({ status: 403, code: "FOREIGN_HOST" });
  });
});

describe("an origin", () => {
  const host = "localhost:8200";

  test.each<Record<string, string>>([
    { host },
    { host, origin: "http://localhost:8200", "sec-fetch-site": "same-origin" },
    { host, "sec-fetch-site": "none" },
    // A proxy in front speaks TLS.
    { host: "failover.example.org", origin: "https://failover.example.org" },
  ])("of ours is answered: %o", (headers) => expect(originDenial(headers)).toBeUndefined());

  test.each<Record<string, string>>([
    { host, origin: "http://localhost:3000" },
    { host, origin: "http://evil.example" },
    { host, origin: "null" },
    { host, origin: "http://localhost:8200", "sec-fetch-site": "cross-site" },
    { host, "sec-fetch-site": "same-site" },
  ])("of another page is refused: %o", (headers) => {
    expect(originDenial(headers)).toMatchObject({ status: 403, code: "FOREIGN_ORIGIN" });
  });
});

describe("a token", () => {
  const token = "0123456789abcdef";

  test("that is the right one is taken", () => {
    expect(tokenDenial({ authorization: `Bearer ${token}` }, token)).toBeUndefined();
  });

  test.each([undefined, "", "Bearer", "Bearer 0", `Bearer ${token}0`, `Basic ${token}`, token])(
    "that is another one is refused: %s",
    (authorization) => {
      const headers = authorization === undefined ? {} : { authorization };
      expect(tokenDenial(headers, token)).toMatchObject({ status: 401, code: "WRONG_TOKEN" });
    },
  );

  test("opens nothing where there is none", () => {
    expect(tokenDenial({ authorization: "Bearer undefined" }, undefined)).toMatchObject({
      code: "READ_ONLY",
    });
  });
});

test.each<[string, object, RegExp]>([
  ["an election with a trailing /", { elections: ["/merc/"] }, /election must be .* got "\/merc\/"/],
  ["no port", { port: 65_536 }, /port must be .* got 65536/],
  ["a short token", { token: "secret" }, /token must be 16 to 256 visible ASCII characters/],
  ["a token with a space", { token: "0123456789 abcdef" }, /token must be/],
  ["a host with a port", { allowHosts: ["a:80"] }, /allowHosts must be a name without .* got "a:80"/],
  ["a URL", { allowHosts: ["https://a"] }, /allowHosts must be/],
])("refused with the reason, and without the token: %s", (_title, options, message) => {
  expect(() => checkDashboard({ port: 0, ...options })).toThrow(message);
  expect(() => checkDashboard({ port: 0, ...options })).not.toThrow(/secret|abcdef/);
});
