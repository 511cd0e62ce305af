import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** One real etcd on this machine: the server and the client of the same release line. */
export interface EtcdBinaries {
  /** The release line, such as `3.4` or `3.5`: what a test title should say. */
  readonly version: string;
  /** The full version, such as `3.4.23`. */
  readonly release: string;
  readonly etcd: string;
  readonly etcdctl: string;
}

/**
 * The real etcds to test against. `scripts/test.mjs` names their folders in ETCD_BIN_34
 * and ETCD_BIN_35 (empty: there is none). Where vitest is started without that script,
 * the etcd on PATH counts, so that a single test run by hand does not skip in silence.
 */
export const realEtcds: readonly EtcdBinaries[] = folders().map(inFolder);

/**
 * Whether this etcd knows `--unsafe-no-fsync`, which makes tests several times faster.
 * The help text does not tell: 3.4.14 and later take the flag without listing it.
 */
export function canSkipFsync(etcd: string): boolean {
  let known = skipsFsync.get(etcd);
  if (known === undefined) {
    known = succeeds(etcd, ["--unsafe-no-fsync", "--version"]);
    skipsFsync.set(etcd, known);
  }
  return known;
}

const skipsFsync = new Map<string, boolean>();

function folders(): string[] {
  const { ETCD_BIN_34: slot34, ETCD_BIN_35: slot35, PATH: path = "" } = process.env;
  if (slot34 === undefined && slot35 === undefined) {
    return path.split(delimiter).filter(holdsEtcd).slice(0, 1);
  }
  return [slot34, slot35].filter((folder): folder is string => folder !== undefined && folder !== "");
}

function holdsEtcd(folder: string): boolean {
  return folder !== "" && existsSync(join(folder, "etcd")) && existsSync(join(folder, "etcdctl"));
}

function inFolder(folder: string): EtcdBinaries {
  const etcd = join(folder, "etcd");
  const said = execFileSync(etcd, ["--version"], { encoding: "utf8" });
  const [release, version] = /etcd Version: ((\d+\.\d+)\.\d+\S*)/.exec(said)?.slice(1) ?? [];
  if (release === undefined || version === undefined) throw new Error(`${etcd} --version says: ${said}`);
  return { version, release, etcd, etcdctl: join(folder, "etcdctl") };
}

function succeeds(command: string, args: readonly string[]): boolean {
  try {
    execFileSync(command, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
