/** An error as people should see it: one line, and never a stack trace. */
export function oneLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  // Which of its requests failed first is of no interest to the user.
  const hint = message.endsWith("etcdserver: user name is empty") ? " (this etcd wants --user)" : "";
  return message.replace(/\s*\n\s*/g, "; ").replace(/^(ready|Range): (?=no usable)/, "") + hint;
}
