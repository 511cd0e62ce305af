import type { Logger } from "../log.ts";
import type { Arguments } from "./arguments.ts";
import { logFormats, logLevels } from "./log-output.ts";
import type { Output } from "./output.ts";
import type { Stop } from "./stop.ts";

/** A flag of a command, by its name without dashes. */
export interface Flag {
  readonly short?: string;
  /** What stands for the value in help texts; a flag without one is a switch. */
  readonly value?: string;
  /** All that the value may be, where that can be listed. */
  readonly choices?: readonly string[];
  readonly help: string;
}

export type Flags = Readonly<Record<string, Flag>>;

/** What a command has to work with. */
export interface Context {
  readonly arguments: Arguments;
  readonly env: NodeJS.ProcessEnv;
  readonly output: Output;
  /** Aborted by Ctrl-C and its like: end politely. */
  readonly stop: Stop;
  readonly logger: Logger;
}

/** A command before it is loaded: help and wrong usage must not wait for a gRPC library. */
export interface CommandEntry {
  readonly name: string;
  readonly alias?: string;
  readonly summary: string;
  load(): Promise<Command>;
}

/** One command of `succession`. */
export interface Command {
  readonly name: string;
  /** How it is called, without `succession`. */
  readonly usage: readonly string[];
  /** Paragraphs of the help text; one with line breaks of its own keeps them. */
  readonly about: readonly string[];
  readonly flags: Flags;
  /** All that its first argument may be, where that can be listed. */
  readonly choices?: readonly string[];
  /** A command line, without `succession`, and what it does. */
  readonly examples: readonly (readonly [line: string, does: string])[];
  /** It ends by itself: told to stop before, it has not done what it was asked for. */
  readonly ends?: true;
  /** Resolves to the exit code. */
  run(context: Context): Promise<number>;
}

export const commonFlags: Flags = {
  json: { help: "print JSON, one object a line, on standard output alone" },
  "log-level": {
    value: "LEVEL",
    choices: logLevels,
    help: "silent, error, warn, info or debug (default: error)",
  },
  "log-format": { value: "FORMAT", choices: logFormats, help: "text or json (default: text)" },
  help: { short: "h", help: "print this text" },
};

/** For commands that talk to etcd. */
export const etcdFlags: Flags = {
  endpoints: { value: "LIST", help: "etcd's addresses, comma separated (default: 127.0.0.1:2379)" },
  cacert: { value: "FILE", help: "certificates of the authorities to trust" },
  cert: { value: "FILE", help: "this client's certificate" },
  key: { value: "FILE", help: "the key of that certificate" },
  user: { value: "NAME", help: "user name for etcd; the password comes from --password-file" },
  "password-file": { value: "FILE", help: "or from SUCCESSION_PASSWORD or ETCDCTL_PASSWORD" },
};

export const timeoutFlag: Flags = {
  timeout: { value: "SECONDS", help: "how long to wait for a first answer of etcd (default: 5)" },
};
