import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { Output } from "../../src/cli/output.ts";
import { Invocation } from "../../src/cli/run.ts";
import { Stop } from "../../src/cli/stop.ts";
import { Child, type ChildOptions } from "../support/processes.ts";

/** The built command; `npm test` builds it first. */
export const main: string = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

/** Starts `succession` with an environment of its own, whatever the machine's says about etcd. */
export function succession(
  args: readonly string[],
  { env = {}, ...options }: Partial<Omit<ChildOptions, "args" | "command">> = {},
): Child {
  return Child.start({ ...options, args: [main, ...args], env: { ...cleanEnv(), ...env } });
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `succession` to its end. */
export async function runSuccession(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const child = succession(args, { env });
  const { code } = await child.exit;
  return { code, stdout: child.stdout, stderr: child.stderr };
}

/** Executes a command line in this process, as fits one that ends by itself: a process for each costs half a second. */
export async function execute(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  stop: Stop = new Stop(),
): Promise<Ended> {
  const streams = [new PassThrough(), new PassThrough()] as const;
  const written = Promise.all(streams.map((stream) => text(stream)));
  const ownEnv = { ...cleanEnv(), ...env };
  const code = await new Invocation(ownEnv, new Output(ownEnv, ...streams), stop).execute(args);
  for (const stream of streams) stream.end();
  const [stdout = "", stderr = ""] = await written;
  return { code, stdout: stdout.replace(/\n$/, ""), stderr: stderr.replace(/\n$/, "") };
}

export function cleanEnv(): NodeJS.ProcessEnv {
  const mine = /^(ETCD(CTL)?|SUCCESSION)_|^npm_|^NODE_OPTIONS$|^(NO_COLOR|FORCE_COLOR)$/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !mine.test(name)));
}

/** A line of `--json`, of whatever command. */
export interface JsonEvent {
  readonly event: string;
  readonly id: string | null;
  readonly leader: string | null;
  readonly token: number;
  readonly cause: string | null;
  readonly time: string;
  readonly endpoint: string;
}

/** The JSON objects of a child's standard output so far. */
export function events(child: Child): JsonEvent[] {
  return child.lines.map((line) => JSON.parse(line) as JsonEvent);
}

/** Waits for a JSON line with these fields. */
export async function eventWith(
  child: Child,
  fields: Partial<JsonEvent>,
  timeoutMs = 20_000,
): Promise<JsonEvent> {
  const line = await child.waitFor((each) => {
    const event = JSON.parse(each) as Record<string, unknown>;
    return Object.entries(fields).every(([name, value]) => event[name] === value);
  }, timeoutMs);
  return JSON.parse(line) as JsonEvent;
}
