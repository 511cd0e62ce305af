import type { Candidate, Line } from "../concurrency/line.ts";

/** Decides, beside etcd, when a member may stand: asked at its first joining and at each that follows a loss. */
export interface Admission {
  /** Resolves when there is nothing against it in the line; rejects when the signal aborts. */
  open(line: Line, signal: AbortSignal): Promise<void>;
  /** Whether a key that has just been created may stay; `earlier` are those before it. If not, `open` is asked again. */
  admits(own: { readonly key: string; readonly earlier: readonly Candidate[] }): boolean;
}
