export interface EventuallyOptions {
  /** @defaultValue 15000 */
  readonly timeoutMs?: number;
  /** @defaultValue 20 */
  readonly everyMs?: number;
}

/**
 * Repeats an assertion until it passes, and returns what it returned; after the time
 * limit it throws the assertion's last error. For facts that no event announces.
 */
export async function eventually<T>(
  assertion: () => T | Promise<T>,
  { timeoutMs = 15_000, everyMs = 20 }: EventuallyOptions = {},
): Promise<T> {
  const start = performance.now();
  let tries = 0;
  while (true) {
    tries++;
    try {
      return await bounded(assertion, timeoutMs - (performance.now() - start));
    } catch (error) {
      if (performance.now() - start + everyMs >= timeoutMs) {
        throw annotated(error, `still so after ${timeoutMs} ms and ${tries} tries`);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

/** One try, given up when the time is over: an assertion that hangs must not hang the test. */
async function bounded<T>(assertion: () => T | Promise<T>, leftMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error("the assertion did not settle")), Math.max(leftMs, 0));
  });
  try {
    return await Promise.race([assertion(), late]);
  } finally {
    clearTimeout(timer);
  }
}

function annotated(error: unknown, note: string): unknown {
  if (error instanceof Error) error.message += `\n(${note})`;
  return error;
}
