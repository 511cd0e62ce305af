import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Child } from "./processes.ts";

/** Where Debian puts PostgreSQL: one folder a version, none of them on PATH. */
const packaged = "/usr/lib/postgresql";

/** The folder of a PostgreSQL server's programs on this machine, the newest one. */
export const postgresBinaries: string | undefined = existsSync(packaged)
  ? readdirSync(packaged)
      .toSorted((a, b) => Number(b) - Number(a))
      .map((version) => join(packaged, version, "bin"))
      .find((folder) => existsSync(join(folder, "initdb")))
  : undefined;

/** A PostgreSQL server of its own, on a socket in a folder of its own. */
export class Postgres {
  readonly #child: Child;
  readonly #folder: string;

  private constructor(child: Child, folder: string) {
    this.#child = child;
    this.#folder = folder;
  }

  static async start(binaries: string): Promise<Postgres> {
    const folder = mkdtempSync(join(tmpdir(), "pg-"));
    const owner = await unprivileged();
    if (owner !== undefined) chownSync(folder, owner.uid, owner.gid);
    const start = (program: string, ...args: string[]): Child => {
      const line = [...switchTo(owner), join(binaries, program), ...args];
      return Child.start({ command: line[0], args: line.slice(1), cwd: folder });
    };
    const data = join(folder, "data");
    const made = await start("initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync").exit;
    if (made.code !== 0) throw new Error(`initdb ended with ${made.code}`);
    const settings = { listen_addresses: "", unix_socket_directories: folder, fsync: "off" };
    const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const child = start("postgres", "-D", data, ...flags);
    await child.waitForError("database system is ready to accept connections", 20_000);
    return new Postgres(child, folder);
  }

  /** How libpq and the `pg` package find it. */
  get env(): NodeJS.ProcessEnv {
    return { PGHOST: this.#folder, PGUSER: "postgres", PGDATABASE: "postgres" };
  }

  /** Ends its connections and the server. */
  async close(): Promise<void> {
    await this.#child.kill("SIGINT");
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Whom the server runs as where this process is root, which it refuses: the user that the package brings. */
async function unprivileged(): Promise<Owner | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const [uid, gid] = await Promise.all(["-u", "-g"].map(idOfPostgres));
  return { uid: uid as number, gid: gid as number };
}

async function idOfPostgres(which: string): Promise<number> {
  const id = Child.start({ command: "id", args: [which, "postgres"] });
  await id.exit;
  return Number(id.stdout);
}

function switchTo(owner: Owner | undefined): string[] {
  if (owner === undefined) return [];
  return ["setpriv", `--reuid=${owner.uid}`, `--regid=${owner.gid}`, "--clear-groups"];
}
