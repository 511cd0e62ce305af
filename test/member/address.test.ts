import { describe, expect, test } from "vitest";
import { memberAddress } from "../../src/member/address.ts";

describe("where a member is reached", () => {
  test.each([
    ["a:10.0.0.1:8080", { host: "10.0.0.1", port: 8080 }],
    ["10.0.0.1:8080", { host: "10.0.0.1", port: 8080 }],
    ["web1.example:80", { host: "web1.example", port: 80 }],
    ["a:web1.example:80", { host: "web1.example", port: 80 }],
    ["eu:west:a:web1.example:80", { host: "web1.example", port: 80 }],
    ["fd00::abcd:80", undefined],
    ["a:[fd00::1]:80", { host: "fd00::1", port: 80 }],
    ["[::1]:80", { host: "::1", port: 80 }],
    [":127.0.0.1:80", { host: "127.0.0.1", port: 80 }],
    ["a", undefined],
    ["a:b", undefined],
    ["", undefined],
    // What the commands choose where no id is given: host, process and a random part.
    ["web1:1234:5678", undefined],
    ["web1:1234:3fa9", undefined],
    ["a:10.0.0.1:0", undefined],
    ["a:10.0.0.1:65536", undefined],
    ["a:bad host:80", undefined],
  ])("by the id %j is %o", (id, address) => expect(memberAddress(id)).toEqual(address));

  test.each([
    ["10.0.0.2:9090", { host: "10.0.0.2", port: 9090 }],
    ["[fd00::2]:9090", { host: "fd00::2", port: 9090 }],
    ["fd00::2", { host: "fd00::2", port: undefined }],
    ["web2", { host: "web2", port: undefined }],
    ["http://web2:9090/path", { scheme: "http", host: "web2", port: 9090 }],
    ["HTTPS://web2", { scheme: "https", host: "web2", port: 443 }],
    ["tcp://web2", { scheme: "tcp", host: "web2", port: undefined }],
    ["", { host: "10.0.0.1", port: 8080 }],
    ["user@web2:1", undefined],
    ["web2:0", undefined],
    ["web2:http", undefined],
    ["a:b:c", undefined],
  ])("by the details %j is %o", (address, expected) =>
    expect(memberAddress("a:10.0.0.1:8080", { address })).toEqual(expected),
  );
});
