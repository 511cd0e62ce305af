import { inspect } from "node:util";
import { expect, test } from "vitest";
import { Etcd, type EtcdOptions } from "../../src/etcd/etcd.ts";

const endpoints = ["127.0.0.1:1"];

test.each<[Partial<EtcdOptions>, string]>([
  [{ attemptTimeoutMs: 0 }, "attemptTimeoutMs must be a number of milliseconds above 0, got 0"],
  [{ attemptTimeoutMs: Number.NaN }, "attemptTimeoutMs must be a number of milliseconds above 0, got NaN"],
  [{ attemptTimeoutMs: Number.POSITIVE_INFINITY }, "attemptTimeoutMs must be"],
  [{ user: "root" }, 'user and password must be given together, got "a user alone"'],
  [{ password: "s3cret" }, 'user and password must be given together, got "a password alone"'],
  [{ user: "", password: "s3cret" }, 'user must be a name, got ""'],
  [{ endpoints: [] }, "endpoints must be a list of one address or more"],
  [{ endpoints: ["ftp://x"] }, 'got "ftp://x"'],
  [{ tls: { ca: "/no/such/file" } }, 'tls.ca must be a readable file (ENOENT), got "/no/such/file"'],
  [{ tls: { cert: "/no/such/file" } }, 'tls.cert and tls.key must be given together, got "tls.cert alone"'],
  [{ tls: { ca: "-----BEGIN nonsense" } }, "tls.ca must be a certificate in PEM"],
  [{ tls: { ca: "bm90IGEg\nZmlsZQ==" } }, 'tls.ca must be a path or PEM text, got "text"'],
  [{ tls: { ca: 5 as never } }, "tls.ca must be a path or PEM text, got 5"],
  [{ tls: null as never }, "tls must be an object with ca, cert and key, got null"],
  [{ user: "root", password: 5 as never }, 'password must be text, got "a number"'],
  [{ user: "root", password: "s3cret\ud800" }, 'password must be well-formed text, got "other text"'],
])("%j is refused with the field and the value", (options, message) => {
  expect(() => new Etcd({ endpoints, ...options })).toThrow(
    expect.objectContaining({ code: "BAD_OPTION", message: expect.stringContaining(message) }),
  );
});

test("no options at all are refused", () => {
  expect(() => new Etcd(undefined as never)).toThrow(/^options must be an object .*, got undefined$/);
});

test.each(["timeoutMs", "attemptTimeoutMs"])("a %s that is no number is refused", async (name) => {
  const etcd = new Etcd({ endpoints });
  await expect(etcd.range("a", { [name]: Number.NaN })).rejects.toMatchObject({
    code: "BAD_OPTION",
    message: expect.stringContaining(`${name} must be`),
  });
  await expect(etcd.status("127.0.0.1:1", { [name]: "1" as never })).rejects.toMatchObject({
    code: "BAD_OPTION",
  });
  await etcd.close();
});

test.each([
  [{ startRevision: 2n ** 70n }, "startRevision must be a bigint from 0 to 2^63 - 1"],
  [{ startRevision: -1n }, "startRevision must be"],
  [{ startRevision: 7 as never }, "startRevision must be"],
  [{ prevKv: 1 as never }, "prevKv must be a boolean, got 1"],
])("a watch with %o is refused", async (request, message) => {
  const etcd = new Etcd({ endpoints });
  expect(() => etcd.watch({ key: "a", ...request })).toThrow(message);
  await etcd.close();
});

test("a limit that is no whole number is refused", async () => {
  const etcd = new Etcd({ endpoints });
  await expect(etcd.range("a", { limit: 1.5 })).rejects.toThrow(
    "limit must be an integer of 0 or more, got 1.5",
  );
  await etcd.close();
});

test("a client shows its endpoints by name, and its password to nobody", async () => {
  const etcd = new Etcd({ endpoints: ["http://a", "[::1]:1"], user: "root", password: "s3cret" });
  expect(etcd.endpoints).toEqual(["a:2379", "[::1]:1"]);
  expect(inspect(etcd, { depth: 9, showHidden: true })).not.toContain("s3cret");
  expect(JSON.stringify(etcd, (_, value) => (typeof value === "bigint" ? `${value}` : value))).not.toContain(
    "s3cret",
  );
  await etcd.close();
});
