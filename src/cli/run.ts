import { version } from "../version.ts";
import { type Arguments, parseArguments, splitAtCommand } from "./arguments.ts";
import { type CommandEntry, commonFlags, etcdFlags } from "./command.ts";
import { commandHelp, generalHelp } from "./help.ts";
import { loggerFor } from "./log-output.ts";
import { oneLine } from "./one-line.ts";
import { Output, printable } from "./output.ts";
import { logSettingsOf } from "./settings.ts";
import { Stop, Stopped } from "./stop.ts";
import { nearest } from "./suggestion.ts";
import { UsageError } from "./usage-error.ts";

export const commands: readonly CommandEntry[] = [
  {
    name: "completion",
    summary: "prints what a shell needs to complete command lines",
    load: async () => (await import("./completion.ts")).completionOf(commands),
  },
  {
    name: "dashboard",
    summary: "a page that shows elections live, and steers them",
    load: async () => (await import("./dashboard.ts")).dashboard,
  },
  {
    name: "demo",
    summary: "three members and live traffic: leaders are killed, others lead",
    load: async () => (await import("./demo.ts")).demo,
  },
  {
    name: "dev",
    summary: "an embedded etcd-compatible server, for development",
    load: async () => (await import("./dev.ts")).dev,
  },
  {
    name: "doctor",
    summary: "examines the cluster and its elections, and advises",
    load: async () => (await import("./doctor.ts")).doctor,
  },
  {
    name: "elect",
    summary: "stands in an election, or observes it",
    load: async () => (await import("./elect.ts")).elect,
  },
  {
    name: "gateway",
    summary: "passes TCP connections on to the leader",
    load: async () => (await import("./gateway.ts")).gateway,
  },
  {
    name: "handover",
    alias: "switchover",
    summary: "has the leader hand over, to the next in line or to somebody named",
    load: async () => (await import("./handover.ts")).handover,
  },
  {
    name: "history",
    summary: "past terms: who led, when, and why each ended",
    load: async () => (await import("./history.ts")).history,
  },
  {
    name: "pause",
    summary: "holds the leader still, for maintenance",
    load: async () => (await import("./pause.ts")).pause,
  },
  {
    name: "resume",
    summary: "ends a pause",
    load: async () => (await import("./pause.ts")).resume,
  },
  {
    name: "run",
    summary: "puts a program under an election: it runs where this member leads",
    load: async () => (await import("./run-program.ts")).runProgram,
  },
  {
    name: "status",
    summary: "who leads, and the line of succession",
    load: async () => (await import("./status.ts")).status,
  },
  {
    name: "watch",
    summary: "follows elections, on the whole screen or line by line",
    load: async () => (await import("./watch.ts")).watch,
  },
];

/** Runs one command line and ends the process with its exit code. */
export async function run(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  // The gRPC library reads this when it is loaded; what it would say, errors say.
  const { GRPC_VERBOSITY: grpcVerbosity = "NONE" } = env;
  Object.assign(process.env, { GRPC_VERBOSITY: grpcVerbosity });
  const output = new Output(env);
  const stop = Stop.install(env);
  output.onBroken = () => {
    // Who has read enough has what he wanted.
    stop.code = 0;
    stop.request();
  };
  process.on("exit", () => output.leaveTerminal());
  const invocation = new Invocation(env, output, stop);
  process.on("uncaughtException", (error) => {
    const code = invocation.fail(error);
    stop.onForced();
    process.exit(code);
  });
  const code = await invocation.execute(argv);
  await output.flush();
  process.exit(code);
}

/** One command line, apart from the process that it has for itself. */
export class Invocation {
  readonly #env: NodeJS.ProcessEnv;
  readonly #output: Output;
  readonly #stop: Stop;
  #title = "succession";

  constructor(env: NodeJS.ProcessEnv, output: Output, stop: Stop) {
    this.#env = env;
    this.#output = output;
    this.#stop = stop;
  }

  /** Resolves to the exit code; what is wrong has been said then. */
  async execute(argv: readonly string[]): Promise<number> {
    try {
      return await this.#dispatch(argv);
    } catch (error) {
      return error instanceof Stopped ? this.#stopped() : this.fail(error);
    }
  }

  /** Says what is wrong, in one line, and gives the exit code for it. */
  fail(error: unknown): number {
    if (this.#stop.requested && !(error instanceof UsageError)) return this.#stopped();
    this.#output.say(`${this.#title}: ${printable(oneLine(error))}`);
    return error instanceof UsageError ? 2 : 1;
  }

  #stopped(): number {
    const { code } = this.#stop;
    if (code !== 0) this.#output.say(`${this.#title}: told to stop before it was done`);
    return code;
  }

  async #dispatch(argv: readonly string[]): Promise<number> {
    const env = this.#env;
    const output = this.#output;
    const { name, rest } = splitAtCommand(argv, { ...etcdFlags, ...commonFlags });
    if (name === undefined || (name === "help" && rest.every((each) => each.startsWith("-")))) {
      const asked = name === "help" ? [] : argv.filter((each) => !["--help", "-h"].includes(each));
      if (argv.includes("--version") && name === undefined) return print(output, version);
      if (asked.length > 0) parseArguments(asked, { flags: { ...etcdFlags, version: { help: "" } } });
      if (argv.length === 0 || asked.length > 0)
        throw new UsageError("COMMAND is missing; succession help lists the commands");
      return print(output, generalHelp(commands));
    }
    if (name === "help") {
      const topic = rest.find((each) => !each.startsWith("-")) as string;
      return print(output, commandHelp(await commandNamed(topic).load()));
    }
    const entry = commandNamed(name);
    this.#title = `succession ${entry.name}`;
    const command = await entry.load();
    const end = rest.indexOf("--");
    const flagsGiven = end < 0 ? rest : rest.slice(0, end);
    if (flagsGiven.includes("--help") || flagsGiven.includes("-h"))
      return print(output, commandHelp(command));
    if (flagsGiven.includes("--version")) return print(output, version);
    const args: Arguments = parseArguments(rest, command);
    const { level, format } = logSettingsOf(args, env);
    const logger = loggerFor(output, level, format);
    if (command.ends === true) this.#stop.code = 1;
    try {
      return await command.run({ arguments: args, env, output, stop: this.#stop, logger });
    } catch (error) {
      // What is missing is best shown by how it should look.
      if (error instanceof UsageError && /is missing$|^unexpected argument/.test(error.message)) {
        throw new UsageError(
          `${error.message}; usage: succession ${command.usage.join(", or: succession ")}`,
        );
      }
      throw error;
    }
  }
}

function commandNamed(name: string): (typeof commands)[number] {
  const found = commands.find((command) => command.name === name || command.alias === name);
  if (found !== undefined) return found;
  const like = nearest(name, ["help", ...commands.map((command) => command.name)]);
  const hint = like === undefined ? "succession help lists the commands" : `did you mean ${like}?`;
  throw new UsageError(`unknown command ${JSON.stringify(name)}; ${hint}`);
}

function print(output: Output, text: string): number {
  output.print(text);
  return 0;
}
