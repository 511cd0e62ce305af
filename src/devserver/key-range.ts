/**
 * A key as a string with one character a byte. Such strings compare with `<` exactly as
 * etcd compares the bytes, and can be looked up in a Map.
 */
export type KeyText = string;

export function keyText(key: Uint8Array): KeyText {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
}

/** The keys from `from` up to, but without, `to`; with no `to`, all keys from `from` on. */
export interface KeyRange {
  readonly from: KeyText;
  readonly to: KeyText | undefined;
}

/** The range that a request means: no end is one key, an end of one zero byte is every key from `key` on. */
export function keyRange(key: Uint8Array, rangeEnd: Uint8Array): KeyRange {
  const from = keyText(key);
  // The key that follows directly is the same one with a zero byte more.
  if (rangeEnd.length === 0) return { from, to: `${from}\0` };
  return { from, to: rangeEnd.length === 1 && rangeEnd[0] === 0 ? undefined : keyText(rangeEnd) };
}

export function contains(range: KeyRange, key: KeyText): boolean {
  return key >= range.from && (range.to === undefined || key < range.to);
}
