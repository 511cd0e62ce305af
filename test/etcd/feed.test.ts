import { expect, test } from "vitest";
import { Feed } from "../../src/feed.ts";

test("a reader that keeps up gets every item in order", async () => {
  const feed = new Feed<number>(2);
  const reader = feed[Symbol.asyncIterator]();
  for (let value = 0; value < 10; value++) {
    feed.push(value);
    expect((await reader.next()).value).toEqual({ value, skipped: 0 });
  }
});

test("a reader that waits gets the next item when it comes", async () => {
  const feed = new Feed<string>();
  const next = feed[Symbol.asyncIterator]().next();
  feed.push("a");
  expect((await next).value).toEqual({ value: "a", skipped: 0 });
});

test("a reader that is too slow gets the newest, and the count of what it missed", async () => {
  const feed = new Feed<number>(3);
  for (let value = 0; value < 8; value++) feed.push(value);
  const reader = feed[Symbol.asyncIterator]();
  expect((await reader.next()).value).toEqual({ value: 6, skipped: 6 });
  expect((await reader.next()).value).toEqual({ value: 7, skipped: 0 });
});

test("an end comes after what waits, an end with a reason at once", async () => {
  const quiet = new Feed<number>();
  quiet.push(1);
  quiet.end();
  quiet.push(2);
  const seen: number[] = [];
  for await (const { value } of quiet) seen.push(value);
  expect(seen).toEqual([1]);

  const reason = new Error("gone");
  const broken = new Feed<number>();
  broken.push(1);
  broken.end(reason);
  broken.end(new Error("again"));
  await expect(broken[Symbol.asyncIterator]().next()).rejects.toBe(reason);
});

test("an end wakes a reader that waits", async () => {
  const feed = new Feed<number>();
  const next = feed[Symbol.asyncIterator]().next();
  feed.end();
  expect(await next).toEqual({ value: undefined, done: true });
});
