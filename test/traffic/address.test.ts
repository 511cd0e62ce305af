import { expect, test } from "vitest";
import { authority, trafficAddress } from "../../src/traffic/address.ts";

test.each([
  ["10.0.0.1:8080", undefined, "10.0.0.1:8080"],
  ["[::1]:80", undefined, "[::1]:80"],
  ["https://a.example:8443/", "https", "a.example:8443"],
  ["https://a.example", "https", "a.example:443"],
  ["HTTP://a.example", "http", "a.example:80"],
  ["tcp://a.example:5432", undefined, "a.example:5432"],
  // Nobody knows which port is meant; and what cannot be read is not replaced by the id.
  ["a.example", undefined, undefined],
  ["10.0.0.1:0", undefined, undefined],
  ["evil\r\nX-Y: 1:80", undefined, undefined],
])("traffic for %j goes by %s to %s", (address, scheme, expected) => {
  const found = trafficAddress("a:10.0.0.9:8080", { address });
  expect(found?.scheme).toBe(scheme);
  expect(found === undefined ? undefined : authority(found)).toBe(expected);
});
