import { expect, test } from "vitest";
import { Child } from "./processes.ts";
import { tiedProcessIds } from "./tied-process.ts";

const script = (code: string): { readonly args: readonly string[] } => ({ args: ["-e", code] });
const forever = "setInterval(() => {}, 1000);";

test("collects output by lines, the last one also without a line break", async () => {
  const child = Child.start(
    script(`process.stdout.write("one\\ntw"); console.error("bad"); process.stdout.write("o")`),
  );
  expect(await child.exit).toEqual({ code: 0, signal: null });
  expect([child.lines, child.stderr]).toEqual([["one", "two"], "bad"]);
  expect(tiedProcessIds()).not.toContain(child.pid);
});

test("waits for a line that is there already or comes, from a given place on", async () => {
  await using child = Child.start({ ...script("process.stdin.pipe(process.stdout)"), keepInputOpen: true });
  child.write("ready 1\n");
  expect(await child.waitFor(/^ready/, 5_000)).toBe("ready 1");
  expect(await child.waitFor("ready", 5_000)).toBe("ready 1");
  const next = child.waitFor((line) => line.startsWith("ready"), 5_000, { from: child.lines.length });
  child.write("other\nready 2\n");
  expect(await next).toBe("ready 2");
});

test("fails at once when the process ends without the line, and shows what it said", async () => {
  const child = Child.start(script(`console.log("hello"); console.error("no luck"); process.exit(3)`));
  await expect(child.waitFor("never", 20_000)).rejects.toThrow(/ended with \{"code":3.*hello.*no luck/s);
});

test("fails when the line does not come in time", async () => {
  await using child = Child.start(script(forever));
  await expect(child.waitFor("never", 50)).rejects.toThrow("within 50 ms");
});

test("tells the signal that ended a process", async () => {
  const child = Child.start(script(forever));
  expect(await child.kill("SIGTERM")).toEqual({ code: null, signal: "SIGTERM" });
});

test("a stopped process says nothing until it goes on", async () => {
  await using child = Child.start(script("let n = 0; setInterval(() => console.log(n++), 5)"));
  await child.waitFor("0", 5_000);
  await child.stop();
  const said = child.lines.length;
  await expect(child.waitFor(() => true, 60, { from: said + 20 })).rejects.toThrow("within");
  child.cont();
  await child.waitFor(() => true, 5_000, { from: said + 20 });
});

test("a command that does not exist ends with code 127", async () => {
  const child = Child.start({ command: "no-such-command", args: [] });
  expect(await child.exit).toMatchObject({ code: 127 });
  expect(child.stderr).toContain("no-such-command");
});

/** Empty on a system without `setpriv`, where only the exit hook ends the children. */
const kernelSays = await Child.start({ command: "setpriv", args: ["--dump"] })
  .waitFor("Parent death signal", 10_000)
  .catch(() => "");

test.skipIf(kernelSays === "")("the kernel kills the children of a test process that is killed", () => {
  expect(kernelSays).toMatch(/KILL/);
});
