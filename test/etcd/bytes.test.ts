import fc from "fast-check";
import { expect, test } from "vitest";
import { keyRange, prefixEnd, toBytes, toText } from "../../src/etcd/bytes.ts";

test.each([
  ["/merc/", "/merc0"],
  ["a", "b"],
  ["é", "ê"],
])("the keys that begin with %s end before %s", (prefix, end) => {
  expect(toText(prefixEnd(prefix))).toBe(end);
});

test("a last byte of 0xff carries over, and with nothing but such bytes the range has no end", () => {
  expect(prefixEnd(Uint8Array.of(0x61, 0xff, 0xff))).toEqual(Uint8Array.of(0x62));
  expect(prefixEnd(Uint8Array.of(0xff, 0xff))).toEqual(Uint8Array.of(0));
  expect(prefixEnd("")).toEqual(Uint8Array.of(0));
});

test("a prefix is left as it was", () => {
  const prefix = Uint8Array.of(1, 2);
  prefixEnd(prefix);
  expect(prefix).toEqual(Uint8Array.of(1, 2));
});

test("a key lies in the range of a prefix exactly if it begins with it", () => {
  const bytes = fc
    .uint8Array({ maxLength: 4, max: 3 })
    .map((each) => each.map((byte) => (byte === 3 ? 255 : byte)));
  fc.assert(
    fc.property(bytes, bytes, (prefix, key) => {
      const end = prefixEnd(prefix);
      const noEnd = end.length === 1 && end[0] === 0;
      const inRange = Buffer.compare(key, prefix) >= 0 && (noEnd || Buffer.compare(key, end) < 0);
      const begins = Buffer.compare(key.subarray(0, prefix.length), prefix) === 0;
      return inRange === begins;
    }),
  );
});

test("an end given goes before the prefix, and the empty prefix is every key", () => {
  expect(keyRange("a", {})).toEqual({ key: toBytes("a") });
  expect(keyRange("a", { prefix: true, rangeEnd: "x" })).toEqual({
    key: toBytes("a"),
    rangeEnd: toBytes("x"),
  });
  expect(keyRange("", { prefix: true })).toEqual({ key: Uint8Array.of(0), rangeEnd: Uint8Array.of(0) });
});

test("what is neither text nor bytes is refused", () => {
  expect(() => toBytes(7 as unknown as string)).toThrow(
    "a key or value must be a string or a Uint8Array, got 7",
  );
  expect(() => toBytes(undefined as unknown as string)).toThrow("got undefined");
});
