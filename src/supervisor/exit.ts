import { constants } from "node:os";

/** How a program ended, as a shell would tell it: its code, or 128 and the number of the signal. */
export interface Exit {
  readonly code: number;
  readonly signal: NodeJS.Signals | undefined;
}

export function exitOf(code: number | null, signal: NodeJS.Signals | null): Exit {
  if (signal !== null) return { code: 128 + (constants.signals[signal] ?? 0), signal };
  return { code: code ?? 1, signal: undefined };
}

/** For people. */
export function describeExit({ code, signal }: Exit): string {
  return signal === undefined ? `ended with ${code}` : `was ended by ${signal}`;
}
