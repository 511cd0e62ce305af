import { badOption } from "../errors.ts";

/** A key or a value: text is sent as UTF-8. */
export type Bytes = string | Uint8Array;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The bytes that are sent for a key or a value. */
export function toBytes(value: Bytes): Uint8Array {
  if (typeof value === "string") return encoder.encode(value);
  if (value instanceof Uint8Array) return value;
  throw badOption("a key or value", "a string or a Uint8Array", value);
}

/** The bytes as text; what is not UTF-8 shows as U+FFFD. */
export function toText(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** The end of the range of all keys that begin with `prefix`: `/merc/` ends at `/merc0`. */
export function prefixEnd(prefix: Bytes): Uint8Array {
  const end = Uint8Array.from(toBytes(prefix));
  for (let last = end.length - 1; last >= 0; last--) {
    const byte = end[last] ?? 0xff;
    if (byte < 0xff) {
      end[last] = byte + 1;
      return end.subarray(0, last + 1);
    }
  }
  // No prefix, or nothing but 0xff: etcd's notation for "to the end".
  return Uint8Array.of(0);
}

/** Which keys are meant, beside the one named. */
export interface KeyRangeOptions {
  /** All keys that begin with the key; the empty key then means every key. @defaultValue false */
  readonly prefix?: boolean;
  /** All keys from the key up to, and without, this one. Goes before `prefix`. */
  readonly rangeEnd?: Bytes;
}

/** A key, or a range of keys, as etcd's requests name it. */
export function keyRange(
  key: Bytes,
  { prefix = false, rangeEnd }: KeyRangeOptions,
): { readonly key: Uint8Array; readonly rangeEnd?: Uint8Array } {
  const first = toBytes(key);
  if (rangeEnd !== undefined) return { key: first, rangeEnd: toBytes(rangeEnd) };
  if (!prefix) return { key: first };
  // etcd refuses an empty key; the first key that can exist is one zero byte.
  return { key: first.length === 0 ? Uint8Array.of(0) : first, rangeEnd: prefixEnd(first) };
}
