/** Sends a signal to a process, or to a group by its negative number; one that is gone has got what it wanted. */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It is gone, or not ours to signal, which its other processes are no better for.
  }
}
