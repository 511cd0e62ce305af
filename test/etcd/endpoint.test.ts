import { expect, test } from "vitest";
import { parseEndpoint, parseEndpoints } from "../../src/etcd/endpoint.ts";

test.each([
  ["10.0.0.1:2379", false, "10.0.0.1:2379", "10.0.0.1", 2379, false],
  ["10.0.0.1:2379", true, "10.0.0.1:2379", "10.0.0.1", 2379, true],
  ["etcd-1.internal:4001", false, "etcd-1.internal:4001", "etcd-1.internal", 4001, false],
  ["ETCD.internal", false, "etcd.internal:2379", "etcd.internal", 2379, false],
  ["http://10.0.0.1:2379", true, "10.0.0.1:2379", "10.0.0.1", 2379, false],
  ["HTTPS://10.0.0.1:2379/", false, "10.0.0.1:2379", "10.0.0.1", 2379, true],
  ["https://etcd.internal", false, "etcd.internal:2379", "etcd.internal", 2379, true],
  ["http://etcd.internal:80", false, "etcd.internal:80", "etcd.internal", 80, false],
  ["https://etcd.internal:443", false, "etcd.internal:443", "etcd.internal", 443, true],
  ["[::1]:2379", false, "[::1]:2379", "::1", 2379, false],
  ["http://[fd00::1]", false, "[fd00::1]:2379", "fd00::1", 2379, false],
  [" localhost:2379 ", false, "localhost:2379", "localhost", 2379, false],
])("%s (TLS files given: %s) is %s", (text, tlsGiven, name, host, port, secure) => {
  expect(parseEndpoint(text, tlsGiven)).toEqual({ name, host, port, secure });
});

test.each([
  [""],
  ["   "],
  [":2379"],
  ["2379"],
  ["ftp://etcd:2379"],
  ["unix:///run/etcd.sock"],
  ["http://"],
  ["etcd:2379/path"],
  ["etcd:2379?a=b"],
  ["etcd:2379#a"],
  ["etcd:0"],
  ["etcd:65536"],
  ["etcd:port"],
  ["::1"],
  ["a b:2379"],
  ["a:1,b:1"],
])("%j is refused, and the error names it", (text) => {
  expect(() => parseEndpoint(text, false)).toThrow(
    expect.objectContaining({
      code: "BAD_OPTION",
      message: expect.stringMatching(
        /^endpoints must be addresses (such as host:port, http:|with a port from 1 to 65535).*, got "/,
      ),
    }),
  );
  expect(() => parseEndpoint(text, false)).toThrow(JSON.stringify(text));
});

test.each([
  "root:s3cret@etcd:2379",
  "http://root:s3cret@etcd:2379",
  "https://root:s3cret@etcd:2379/path",
  "ftp://root:s3cret@etcd:2379",
  "http://root:s3cret@a b",
  "http://root:s3@cret@etcd:port",
])("a user name in %s is refused without repeating the password", (text) => {
  try {
    parseEndpoint(text, false);
    expect.unreachable();
  } catch (error) {
    expect(error).toMatchObject({ code: "BAD_OPTION" });
    expect(String(error)).toContain("without a user name");
    expect(String(error)).not.toMatch(/s3|cret/);
  }
});

test("an endpoint given twice counts once", () => {
  const names = parseEndpoints(["a:2379", "http://a", "b:1"], false).map(({ name }) => name);
  expect(names).toEqual(["a:2379", "b:1"]);
});

test("one address with TLS and without is refused", () => {
  expect(() => parseEndpoints(["http://a:1", "https://a:1"], false)).toThrow("a:1 with both");
});

test.each([[[]], [undefined], ["a:1"]])("%j is no list of endpoints", (list) => {
  expect(() => parseEndpoints(list as string[], false)).toThrow(/^endpoints must be a list of/);
});
