import { chmodSync, lstatSync, mkdirSync, statSync, unlinkSync } from "node:fs";
import { connect, type Server } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { dirname, join } from "node:path";

/** What Linux takes for the name of a socket, less the zero at its end. What is longer would be cut off in silence. */
const longestPath = 107;

/** A living supervisor takes a connection at once; one that hangs lives, too. */
const answerWithinMs = 1_000;

/** Throws where a socket cannot have this name. */
export function checkSocketPath(path: string): void {
  const length = Buffer.byteLength(path);
  if (length > longestPath)
    throw new Error(`the path of a socket has ${longestPath} bytes at most, and ${path} has ${length}`);
}

/** Makes a server listen on a socket that this user alone may use; one that a dead process has left is replaced. */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  checkSocketPath(path);
  try {
    await listen(server, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw refused(path, error);
    if (!lstatSync(path).isSocket()) throw new Error(`${path} is there, and is no socket; choose another`);
    if (await isAnswered(path)) throw new Error(`another process serves ${path}; choose another`);
    try {
      unlinkSync(path);
      await listen(server, path);
    } catch (later) {
      throw refused(path, later);
    }
  }
}

/** A folder for sockets that nobody else can write to. */
export function socketFolder(env: NodeJS.ProcessEnv): string {
  const { XDG_RUNTIME_DIR: runtime } = env;
  const { uid } = userInfo();
  if (runtime !== undefined && runtime !== "") return privateFolder(join(runtime, "succession"), uid);
  return privateFolder(uid === 0 ? "/run/succession" : join(tmpdir(), `succession-${uid}`), uid);
}

function privateFolder(folder: string, uid: number): string {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const found = lstatSync(folder);
  if (!found.isDirectory() || found.uid !== uid || (found.mode & 0o022) !== 0)
    throw new Error(`${folder} is not a folder of this user alone; name a socket yourself`);
  return folder;
}

async function listen(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    // The socket is made in this very call: at no time may others use it.
    const before = process.umask(0o177);
    server.listen({ path }, () => {
      server.off("error", reject);
      resolve();
    });
    process.umask(before);
  });
  chmodSync(path, 0o600);
}

async function isAnswered(path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect({ path });
    const timer = setTimeout(() => done(true), answerWithinMs);
    const done = (answered: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answered);
    };
    socket.once("connect", () => done(true));
    // Whatever is not plainly left behind is somebody's.
    socket.once("error", ({ code }: NodeJS.ErrnoException) => done(code !== "ECONNREFUSED"));
  });
}

function refused(path: string, error: unknown): Error {
  const { code, message } = error as NodeJS.ErrnoException;
  // Node.js says EACCES of a folder that is not there, too.
  const found = statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory() === true;
  const why = !found ? "there is no such folder" : code === "EACCES" ? "this user may not" : message;
  return new Error(`cannot make the socket ${path}: ${why}`, { cause: error });
}
