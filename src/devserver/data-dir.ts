import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type Clock, systemClock } from "../clock.ts";
import { badOption } from "../errors.ts";
import { randomId } from "./store.ts";

/** How many revisions are reserved at a time, so that hardly any write has to wait for the disk. */
const reserveAhead = 100_000n;

interface Identity {
  readonly clusterId: bigint;
  readonly memberId: bigint;
  /** Revisions up to this one may have been used. */
  readonly reserved: bigint;
}

/**
 * What a development server remembers from run to run: not its data, but who it is and which
 * revisions it may have used, so that fencing tokens never go back.
 */
export class DataDir {
  readonly clusterId: bigint;
  readonly memberId: bigint;
  /** The revision to start at: every one that was used before is smaller. */
  readonly firstRevision: bigint;
  readonly #dir: string;
  #reserved: bigint;

  constructor(dir: string, clock: Clock = systemClock) {
    this.#dir = dir;
    mkdirSync(dir, { recursive: true });
    const stored = read(dir);
    this.clusterId = stored?.clusterId ?? randomId(clock);
    this.memberId = stored?.memberId ?? randomId(clock);
    this.firstRevision = stored === undefined ? 1n : stored.reserved + 1n;
    this.#reserved = this.firstRevision;
    this.reserve(this.firstRevision);
  }

  /** Must be called before `revision` is used; it is on disk when this returns. */
  readonly reserve = (revision: bigint): void => {
    if (revision < this.#reserved) return;
    const reserved = revision + reserveAhead;
    write(this.#dir, { reserved, clusterId: this.clusterId, memberId: this.memberId });
    this.#reserved = reserved;
  };
}

const fileName = "identity.json";

function read(dir: string): Identity | undefined {
  const path = join(dir, fileName);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const { clusterId, memberId, reserved } = JSON.parse(text) as Record<keyof Identity, string>;
    return { clusterId: BigInt(clusterId), memberId: BigInt(memberId), reserved: BigInt(reserved) };
  } catch {
    // Starting over would let tokens go back, so somebody has to decide that.
    throw badOption("dataDir", `a folder whose ${fileName} a development server wrote`, dir);
  }
}

/** Replaces the file as a whole: a crash leaves the old one or the new one. Numbers go as strings: they exceed 2^53. */
function write(dir: string, { clusterId, memberId, reserved }: Identity): void {
  const text = JSON.stringify({
    clusterId: String(clusterId),
    memberId: String(memberId),
    reserved: String(reserved),
  });
  const path = join(dir, fileName);
  const draft = `${path}.new`;
  writeSynced(draft, text);
  renameSync(draft, path);
  syncFolder(dir);
}

function writeSynced(path: string, text: string): void {
  const file = openSync(path, "w");
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Makes the renaming itself lasting; Windows cannot open a folder, and needs not. */
function syncFolder(dir: string): void {
  if (process.platform === "win32") return;
  const folder = openSync(dir, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
