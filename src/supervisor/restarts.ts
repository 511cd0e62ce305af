import type { Exit } from "./exit.ts";

export const restartPolicies = ["never", "on-failure", "always"] as const;

export type RestartPolicy = (typeof restartPolicies)[number];

export interface RestartOptions {
  readonly policy: RestartPolicy;
  /** So many ends in the window are one too many. */
  readonly limit: number;
  readonly windowMs: number;
}

export type RestartDecision =
  /** Leave the election and end with the program's code. */
  | { readonly to: "end" }
  /** Stand in line again after a pause. */
  | { readonly to: "restart"; readonly failures: number }
  /** It ends again and again: somebody must look at it. */
  | { readonly to: "give-up"; readonly failures: number };

/** What becomes of a program that ended by itself, or had to be killed because it hung. */
export class Restarts {
  readonly #options: RestartOptions;
  #ends: readonly number[] = [];

  constructor(options: RestartOptions) {
    this.#options = options;
  }

  /** `now` in milliseconds, of any clock. */
  decide({ code }: Pick<Exit, "code">, now: number): RestartDecision {
    const { policy, limit, windowMs } = this.#options;
    if (policy === "never" || (policy === "on-failure" && code === 0)) return { to: "end" };
    this.#ends = [...this.#ends.filter((at) => now - at < windowMs), now];
    const failures = this.#ends.length;
    return { to: failures >= limit ? "give-up" : "restart", failures };
  }
}
