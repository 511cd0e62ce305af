import { spawn } from "node:child_process";
import { sendSignal } from "./send-signal.ts";

/** Asks once whether the program is well. Resolves to what is wrong, to `undefined` for nothing; never rejects. */
export type HealthCheck = (timeoutMs: number) => Promise<string | undefined>;

/** Runs a command line in a shell: 0 is well. What hangs is killed with all of its group. */
export function commandCheck(line: string, env: NodeJS.ProcessEnv): HealthCheck {
  return (timeoutMs) =>
    new Promise((resolve) => {
      const child = spawn("/bin/sh", ["-c", line], { env, stdio: "ignore", detached: true });
      const timer = setTimeout(() => done(`no answer within ${timeoutMs} ms`), timeoutMs);
      const done = (trouble: string | undefined): void => {
        clearTimeout(timer);
        if (child.pid !== undefined) sendSignal(-child.pid, "SIGKILL");
        resolve(trouble);
      };
      child.once("error", (error) => done(error.message));
      child.once("exit", (code, signal) => done(code === 0 ? undefined : `ended with ${code ?? signal}`));
    });
}

/** Asks for a URL: an answer of 200 to 299 is well. */
export function httpCheck(url: string): HealthCheck {
  return async (timeoutMs) => {
    try {
      const answer = await fetch(url, {
        signal: AbortSignal.timeout(timeoutMs),
        redirect: "manual",
        headers: { connection: "close" },
      });
      await answer.body?.cancel();
      return answer.ok ? undefined : `answered ${answer.status}`;
    } catch (error) {
      const { name, message, cause } = error as Error;
      if (name === "TimeoutError") return `no answer within ${timeoutMs} ms`;
      return cause instanceof Error ? cause.message : message;
    }
  };
}
