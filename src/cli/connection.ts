import { readFileSync } from "node:fs";
import { checkTtlSeconds } from "../concurrency/session.ts";
import { Etcd } from "../etcd/etcd.ts";
import type { TlsOptions } from "../etcd/tls.ts";
import type { Arguments } from "./arguments.ts";
import { type Env, type Given, numberOf, setting } from "./settings.ts";
import { asUsage, UsageError } from "./usage-error.ts";

/** How to reach etcd; plain data, so that another process can be told. */
export interface Connection {
  readonly endpoints: readonly string[];
  readonly tls?: TlsOptions;
  readonly user?: string;
  readonly password?: string;
}

const defaultEndpoint = "127.0.0.1:2379";

/** The connection that flags and environment ask for, checked. Throws `UsageError`. */
export function connectionOf(args: Arguments, env: Env): Connection {
  const given = setting(args, env, "endpoints");
  const lists = args.values("endpoints") ?? [given?.value ?? defaultEndpoint];
  const files = (["cacert", "cert", "key"] as const).map((name) => setting(args, env, name));
  const [ca, cert, key] = files;
  const tls = {
    ...(ca === undefined ? {} : { ca: ca.value }),
    ...(cert === undefined ? {} : { cert: cert.value }),
    ...(key === undefined ? {} : { key: key.value }),
  };
  const connection = {
    endpoints: lists.flatMap((list) => list.split(",")).map((endpoint) => endpoint.trim()),
    ...(files.every((file) => file === undefined) ? {} : { tls }),
    ...credentials(args, env),
  };
  const sources = {
    ...(given === undefined ? {} : { endpoints: given.source }),
    ...(ca === undefined ? {} : { "tls.ca": ca.source }),
    ...(cert === undefined ? {} : { "tls.cert": cert.source }),
    ...(key === undefined ? {} : { "tls.key": key.source }),
  };
  // A client that is made and thrown away opens no connection, and says what is wrong with the settings.
  asUsage(() => new Etcd(connection), sources);
  return connection;
}

/** The password never comes from a flag: command lines are for everybody to see. */
function credentials(args: Arguments, env: Env): { user?: string; password?: string } {
  const given = setting(args, env, "user");
  const file = setting(args, env, "password-file", false);
  if (given === undefined) {
    if (file !== undefined) throw new UsageError(`${file.source} needs --user`);
    return {};
  }
  const colon = given.value.indexOf(":");
  if (colon >= 0 && given.source === "--user") {
    throw new UsageError(
      "--user takes the name alone; give the password by --password-file or SUCCESSION_PASSWORD",
    );
  }
  const user = colon < 0 ? given.value : given.value.slice(0, colon);
  const inline = colon < 0 ? undefined : given.value.slice(colon + 1);
  const { SUCCESSION_PASSWORD: own, ETCDCTL_PASSWORD: etcdctls } = env;
  const password = file === undefined ? (own ?? inline ?? etcdctls) : passwordIn(file);
  if (password === undefined) {
    throw new UsageError(`${given.source} needs a password, by --password-file or SUCCESSION_PASSWORD`);
  }
  return { user, password };
}

function passwordIn({ value, source }: Given): string {
  try {
    return readFileSync(value, "utf8").replace(/\r?\n$/, "");
  } catch (error) {
    const { code = "unreadable" } = error as NodeJS.ErrnoException;
    throw new UsageError(`${source} must be a readable file (${code}), got ${JSON.stringify(value)}`);
  }
}

/** `--ttl`, checked. */
export function ttlSecondsOf(args: Arguments, env: Env, fallback: number): number {
  const given = setting(args, env, "ttl", false);
  if (given === undefined) return fallback;
  const ttlSeconds = numberOf(given, "an integer of 1 or more");
  asUsage(() => checkTtlSeconds(ttlSeconds), { ttlSeconds: given.source });
  return ttlSeconds;
}
