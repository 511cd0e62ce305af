import { describe, expect, test } from "vitest";
import { Proof, SharedFlag } from "./proof.ts";

describe("a proof", () => {
  test("moves forward, and never back", () => {
    const proof = Proof.until(1_000.5);
    expect(proof.until).toBe(1_000.5);
    expect(proof.renew(2_000, 500)).toBe(true);
    expect(proof.renew(1_500, 600)).toBe(true);
    expect(proof.until).toBe(2_000);
  });

  test("is the same for everybody who has its memory", () => {
    const proof = Proof.until(1_000);
    const other = new Proof(proof.memory);
    expect(other.renew(3_000, 10)).toBe(true);
    expect(proof.until).toBe(3_000);
  });

  test("is not renewed by an answer that arrives after it", () => {
    const proof = Proof.until(1_000);
    expect(proof.renew(9_000, 1_000)).toBe(false);
    expect(proof.passed(0)).toBe(true);
  });

  test("that was found passed is over, also for an answer that had arrived in time", () => {
    const proof = Proof.until(1_000);
    expect(proof.passed(999.9)).toBe(false);
    expect(proof.passed(1_000)).toBe(true);
    // The other thread looked at its clock before, and was held up.
    expect(new Proof(proof.memory).renew(9_000, 999)).toBe(false);
    expect(proof.until).toBe(Number.NEGATIVE_INFINITY);
  });

  test("on which nothing rests yet can be had anew", () => {
    const proof = Proof.until(1_000);
    expect(proof.passed(1_000)).toBe(true);
    proof.prove(5_000);
    expect([proof.until, proof.passed(4_999)]).toEqual([5_000, false]);
  });

  test("that was lost is over, with the first word that was said of it, and cannot be had anew", () => {
    const proof = Proof.until(1_000);
    proof.lose("key-gone");
    proof.lose("lease-gone");
    proof.prove(9_000);
    expect([proof.loss, proof.until, proof.passed(0), proof.renew(9_000, 0)]).toEqual([
      "key-gone",
      Number.NEGATIVE_INFINITY,
      true,
      false,
    ]);
  });
});

test("a flag is the same for everybody who has its memory", () => {
  const flag = new SharedFlag();
  new SharedFlag(flag.memory).value = true;
  expect(flag.value).toBe(true);
});
