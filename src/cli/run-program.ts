import { hostname } from "node:os";
import { checkElection, checkValue } from "../concurrency/naming.ts";
import { Etcd } from "../etcd/etcd.ts";
import { unusableCommand } from "../supervisor/executable.ts";
import { withoutTold } from "../supervisor/program-environment.ts";
import { type SupervisorControl, supervise } from "../supervisor/supervisor.ts";
import { onAbort } from "../waiting.ts";
import { type Command, type Context, etcdFlags } from "./command.ts";
import { connectionOf, ttlSecondsOf } from "./connection.ts";
import { Outages } from "./outages.ts";
import { ProgramTeller } from "./program-events.ts";
import { programFlags, programSettingsOf } from "./program-settings.ts";
import { setting } from "./settings.ts";
import { SystemdNotifier } from "./systemd-notifier.ts";
import { asUsage, UsageError } from "./usage-error.ts";

const defaultTtlSeconds = 10;

/** Signals that mean something to the program, and nothing to us. */
const passedOn = ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGQUIT", "SIGALRM", "SIGCONT"] as const;

/** A terminal and a process manager may both send the same Ctrl-C. */
const samePressMs = 250;

export const runProgram: Command = {
  name: "run",
  usage: ["run ELECTION [FLAGS] -- COMMAND [ARGUMENTS]"],
  about: [
    "Puts a program under an election: it is started where this member leads, and stopped before anybody else can lead. When the program dies its lead is released at once, so that the next in line takes over within milliseconds.",
    "On a loss the program gets SIGTERM, and SIGKILL in time, together with everything that it has started; also if this supervisor is killed or hangs. Standard input and output are the program's; messages go to standard error, with --json as objects.",
    "Ctrl-C or SIGTERM leaves the line, stops the program within --grace, resigns, and ends with its exit code; a second one kills it. SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH and SIGQUIT are passed on.",
    "Exit codes: the program's (128 and the number of the signal that ended it); 1 after giving up, 2 for wrong usage, 126 and 127 for a command that cannot be run or is not found.",
  ],
  flags: {
    ttl: {
      value: "SECONDS",
      help: `until a member lost without a word is replaced (default: ${defaultTtlSeconds})`,
    },
    id: { value: "ID", help: "who this is; unique, and waited for if taken (default: host:pid:random)" },
    "no-wait": { help: "refuse to start where another one with the same --id stands in line" },
    ...programFlags,
    ...etcdFlags,
  },
  examples: [
    ["run /merc -- nginx -g 'daemon off;'", "one nginx of all that are started so"],
    ["run /merc --id a:10.0.0.1:8080 --ttl 5 --grace 2 -- ./server", "with a name and times of its own"],
    ["run /merc --standby warm --health-cmd ./check -- ./server", "always running"],
    ["run /nightly --restart never -- ./report", "a job that must run once at a time"],
  ],
  run: superviseProgram,
};

async function superviseProgram(context: Context): Promise<number> {
  const { output, stop, logger } = context;
  const env = withoutTold(context.env);
  const { own: args, command } = context.arguments.split;
  const [election] = args.take(["ELECTION"]);
  if (command.length === 0) throw new UsageError("COMMAND is missing");
  asUsage(() => checkElection(election));
  const givenId = setting(args, env, "id", false);
  const id = givenId?.value ?? madeUpId();
  asUsage(() => checkValue("id", id, 1), { id: givenId?.source ?? "--id" });
  const ttlSeconds = ttlSecondsOf(args, env, defaultTtlSeconds);
  const settings = programSettingsOf(args, env, ttlSeconds);
  const connection = connectionOf(args, env);
  const teller = new ProgramTeller(output, args.has("json"), { election, id });
  const unusable = unusableCommand(command[0] ?? "", env);
  if (unusable !== undefined) {
    teller.say("unusable", `${command[0] || '""'}: ${unusable.why}`);
    return unusable.code;
  }
  if (process.pid === 1) teller.say("no-init", noInit);
  const etcd = new Etcd({ ...connection, logger });
  const outages = new Outages(etcd, {
    trouble: (_code, message) => teller.say("error", message),
    relief: (message) => teller.say("relief", message),
  });
  const notifier = new SystemdNotifier(env);
  const namesakes = givenId === undefined ? "ignore" : args.has("no-wait") ? "refuse" : "wait";
  stop.handOver();
  try {
    return await supervise(
      {
        ...{ etcd, election, id, namesakes, ttlSeconds, logger, command },
        ...settings,
        env: notifier.environment,
        on: (event) => {
          teller.tell(event);
          notifier.tell(event);
        },
      },
      (control) => {
        listenToSignals(control, () => notifier.stopping());
        onAbort(stop.signal, control.stop);
      },
    );
  } finally {
    outages.stop();
    await etcd.close();
  }
}

const noInit =
  "runs as process 1 without an init: orphans of the program stay zombies; start it under tini or docker run --init";

function madeUpId(): string {
  return `${hostname()}:${process.pid}:${crypto.randomUUID().slice(0, 8)}`;
}

function listenToSignals(control: SupervisorControl, onStopping: () => void): void {
  let stoppedAt: number | undefined;
  const press = (): void => {
    if (stoppedAt === undefined) {
      stoppedAt = performance.now();
      onStopping();
      control.stop();
    } else if (performance.now() - stoppedAt > samePressMs) {
      control.kill();
    }
  };
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, press);
  for (const name of passedOn) process.on(name, () => control.signal(name));
}
