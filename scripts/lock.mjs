import { linkSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";

/** Whoever holds a lock for longer is taken for gone, also where its process id cannot be judged. */
const staleAfterMs = 15 * 60_000;
const lookEveryMs = 200;

/**
 * Runs a synchronous task while no other process runs one under the same lock file. The
 * lock of a process that has died is taken over.
 */
export function withLock(file, task) {
  // A process that ends by process.exit within the task gives its lock back, too.
  const release = () => rmSync(file, { force: true });
  acquire(file);
  process.once("exit", release);
  try {
    return task();
  } finally {
    process.removeListener("exit", release);
    release();
  }
}

function acquire(file) {
  const mine = `${file}.${process.pid}`;
  writeFileSync(mine, String(process.pid));
  try {
    // A link appears together with its content, so nobody sees a lock without a holder.
    while (!tryTo(() => linkSync(mine, file), "EEXIST")) {
      if (isStale(file)) dropStale(file);
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lookEveryMs);
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

function isStale(file) {
  try {
    if (Date.now() - statSync(file).mtimeMs > staleAfterMs) return true;
    return !lives(Number(readFileSync(file, "utf8")));
  } catch {
    // It has just been given back.
    return false;
  }
}

/** Moves the lock away first: of several that find it stale, one gets it, and a fresh one is put back. */
function dropStale(file) {
  const moved = `${file}.stale.${process.pid}`;
  if (!tryTo(() => renameSync(file, moved), "ENOENT")) return;
  if (!isStale(moved)) tryTo(() => linkSync(moved, file), "EEXIST");
  rmSync(moved, { force: true });
}

function lives(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code !== "ESRCH";
  }
}

/** Whether it was done; false where it failed as expected. */
function tryTo(action, expectedCode) {
  try {
    action();
    return true;
  } catch (error) {
    if (error.code === expectedCode) return false;
    throw error;
  }
}
