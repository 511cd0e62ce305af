import { checkElection } from "../concurrency/naming.ts";
import { badOption, SuccessionError } from "../errors.ts";
import type { Etcd } from "../etcd/etcd.ts";
import type { Logger } from "../log.ts";
import { defaultMetaPrefix } from "../member/details.ts";

/** What a dashboard serves, where and for whom. */
export interface DashboardOptions {
  /** The client to read and to steer with; it stays the caller's. */
  readonly etcd: Etcd;
  /** The elections to show. @defaultValue every one in which a member of Succession stands */
  readonly elections?: readonly string[];
  /** The address to listen on. @defaultValue "127.0.0.1" */
  readonly host?: string;
  /** The port to listen on; 0 for any that is free. */
  readonly port: number;
  /** Who shows it may steer: 16 to 256 visible ASCII characters. @defaultValue none, and the page is read-only */
  readonly token?: string;
  /**
   * Names by which browsers reach the page, beside localhost, `host` and all addresses: another name that points here is
   * refused. Without port.
   */
  readonly allowHosts?: readonly string[];
  /** Where everything about elections is kept that is not a candidate. @defaultValue "_succession/v1/" */
  readonly metaPrefix?: string;
  /** pino's shape. @defaultValue the logger of `etcd` */
  readonly logger?: Logger;
  /** Where the page's files are. @defaultValue beside this code */
  readonly pageFolder?: URL;
}

/** The options with every default in place. */
export interface CheckedDashboard {
  readonly elections: readonly string[] | undefined;
  readonly host: string;
  readonly port: number;
  readonly token: string | undefined;
  /** The names, in lower case, by which it may be asked. */
  readonly hosts: ReadonlySet<string>;
  readonly metaPrefix: string;
}

const tokenRule = "16 to 256 visible ASCII characters, such as `openssl rand -hex 24` prints";

/** Throws `BAD_OPTION` naming the field, the rule and the value, but never the token. */
export function checkDashboard(options: Omit<DashboardOptions, "etcd">): CheckedDashboard {
  const {
    elections,
    host = "127.0.0.1",
    port,
    token,
    allowHosts = [],
    metaPrefix = defaultMetaPrefix,
  } = options;
  for (const election of elections ?? []) checkElection(election);
  if (typeof host !== "string" || host === "") throw badOption("host", "an address of this machine", host);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw badOption("port", "a port from 0 (any free one) to 65535", port);
  }
  if (token !== undefined && !/^[\x21-\x7e]{16,256}$/.test(token)) {
    throw new SuccessionError("BAD_OPTION", `token must be ${tokenRule}; this one is not`);
  }
  if (typeof metaPrefix !== "string") throw badOption("metaPrefix", "text", metaPrefix);
  const hosts = new Set(["localhost", host.toLowerCase(), ...allowHosts.map(checkName)]);
  return { elections: unique(elections), host, port, token, hosts, metaPrefix };
}

function checkName(name: string): string {
  if (typeof name === "string" && /^[a-z0-9._-]+$/i.test(name)) return name.toLowerCase().replace(/\.$/, "");
  throw badOption("allowHosts", "a name without scheme and port, such as failover.example.org", name);
}

function unique(elections: readonly string[] | undefined): readonly string[] | undefined {
  return elections === undefined || elections.length === 0 ? undefined : [...new Set(elections)];
}
