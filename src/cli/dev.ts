import { DevServer } from "../devserver/dev-server.ts";
import { SuccessionError } from "../errors.ts";
import { onAbort } from "../waiting.ts";
import type { Command, Context } from "./command.ts";
import { listenAddressOf } from "./settings.ts";
import { UsageError } from "./usage-error.ts";

const defaultAddress = "127.0.0.1:2379";

export const dev: Command = {
  name: "dev",
  usage: ["dev [--listen HOST:PORT] [--data-dir DIR]"],
  about: [
    "Runs etcd's v3 API in this process: for trying things out, for development and for tests. etcdctl, Go programs and every command of succession work against it.",
    "NOT FOR PRODUCTION: it is one process that keeps everything in memory, without authentication and without TLS. When it ends, the data is gone.",
  ],
  flags: {
    listen: {
      value: "HOST:PORT",
      help: `where to serve; port 0 takes a free one (default: ${defaultAddress})`,
    },
    "data-dir": {
      value: "DIR",
      help: "remembers which revisions were used, so that fencing tokens never go back; keeps no data",
    },
  },
  examples: [
    ["dev", "serve where etcd clients look first"],
    ["dev --listen 127.0.0.1:0 --json", "a free port, told as JSON on the first line"],
    ["dev --data-dir .etcd-dev", "tokens go on growing after a restart"],
  ],
  run: serve,
};

async function serve({ arguments: args, output, stop, logger }: Context): Promise<number> {
  args.take([]);
  const { host, port } = listenAddressOf(args, defaultAddress);
  const dataDir = args.value("data-dir");
  if (dataDir === "") throw new UsageError('--data-dir must be a folder, got ""');
  const options = { host, port, logger };
  const server = await start(dataDir === undefined ? options : { ...options, dataDir });
  const { endpoint } = server;
  const flag = endpoint === defaultAddress ? "" : ` --endpoints ${endpoint}`;
  output.say("*** NOT FOR PRODUCTION: one process, data in memory only, no authentication, no TLS ***");
  if (!/^(127\.|localhost$|::1$)/.test(host))
    output.say(`*** everybody who reaches ${endpoint} can read and change everything ***`);
  if (args.has("json")) output.json({ event: "listening", endpoint, time: new Date().toISOString() });
  else {
    output.print(
      [
        `etcd's v3 API on ${endpoint}`,
        "",
        "  In other terminals:",
        `    succession elect /merc a${flag}`,
        `    succession elect /merc b${flag}`,
        `    succession status /merc${flag}`,
        `    etcdctl${flag} get /merc/ --prefix --sort-by=CREATE`,
        "",
        "Ctrl-C ends it, and the data with it.",
      ].join("\n"),
    );
  }
  await new Promise<void>((resolve) => onAbort(stop.signal, resolve));
  await server.close();
  return 0;
}

async function start(options: Parameters<typeof DevServer.start>[0] & object): Promise<DevServer> {
  try {
    return await DevServer.start(options);
  } catch (error) {
    if (!(error instanceof SuccessionError)) throw error;
    const { host, port } = options;
    const message = error.message.includes("EADDRINUSE")
      ? `port ${port} of ${host} is in use; choose another with --listen`
      : error.message.replace(/^dataDir /, "--data-dir ");
    // The command was right, the machine is not as it should be: no wrong usage.
    throw new Error(message, { cause: error });
  }
}
