import { describe, expect, test } from "vitest";
import { addressInId, authority, parseAddress } from "../../src/traffic/address.ts";

describe("an address", () => {
  test.each([
    ["10.0.0.1:8080", { scheme: undefined, host: "10.0.0.1", port: 8080 }],
    ["db.example.org:5432", { scheme: undefined, host: "db.example.org", port: 5432 }],
    ["[::1]:80", { scheme: undefined, host: "::1", port: 80 }],
    ["https://a.example:8443/", { scheme: "https", host: "a.example", port: 8443 }],
    ["https://a.example", { scheme: "https", host: "a.example", port: 443 }],
    ["HTTP://a.example", { scheme: "http", host: "a.example", port: 80 }],
    ["a.example", undefined],
    ["10.0.0.1:0", undefined],
    ["10.0.0.1:65536", undefined],
    ["", undefined],
    ["a b:80", undefined],
    ["http://a.example:80/path", undefined],
    ["evil\r\nX-Y: 1:80", undefined],
  ])("%j is read as %j", (text, address) => expect(parseAddress(text)).toEqual(address));

  test.each([
    ["a:10.0.0.1:8080", "10.0.0.1:8080"],
    ["10.0.0.1:8080", "10.0.0.1:8080"],
    ["eu:west:a:host.example:80", "host.example:80"],
    ["a:[::1]:8080", "[::1]:8080"],
    // As the commands name themselves: a process id, and something random.
    ["host:4242:9131", undefined],
    ["a", undefined],
    ["a:b:c", undefined],
  ])("at the end of the id %j is %j", (id, address) => {
    const found = addressInId(id);
    expect(found === undefined ? undefined : authority(found)).toBe(address);
  });
});
