/**
 * `npm test`: runs vitest against the development server and every real etcd there is,
 * and says what could not be tested. Arguments are vitest's. The last line counts tests:
 * `N passed, N failed`, with `, N skipped` where there are such.
 *
 * REQUIRE_REAL_ETCD=1 makes a missing etcd 3.4 or 3.5 a failure, REQUIRE_REAL_ETCD=any
 * makes it a failure if there is none at all.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { findRealEtcds, slots } from "./real-etcd.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const cache = join(root, ".cache");
const report = join(cache, `test-${process.pid}.json`);
const args = process.argv.slice(2);

const { found, missing } = findRealEtcds(cache);
say(`Node.js ${process.versions.node}`);
for (const [slot, { release, folder }] of Object.entries(found))
  say(`real etcd ${slot}: ${release} in ${folder}`);
warn();

const status = runVitest();
const { files, passed, failed, skipped, failures } = readReport();
// The reporter's own account of them is far above, or cut off, in a long log.
for (const failure of failures) say(`FAILED: ${failure}`);
warn(files.filter(usesRealEtcd).length);
const problems = [];
if (passed + failed === 0) problems.push("no test ran");
if (status !== 0 && failed === 0)
  problems.push(`vitest ended with ${status ?? "a signal"} although no test failed`);
if (isRequired()) problems.push("REQUIRE_REAL_ETCD is set, and a real etcd is missing");
for (const problem of problems) say(`FAILED: ${problem}`);
say(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exitCode = status || (problems.length > 0 || failed > 0 ? 1 : 0);

function runVitest() {
  mkdirSync(cache, { recursive: true });
  const reporters = args.some((arg) => arg.startsWith("--reporter")) ? [] : ["--reporter=default"];
  const { status } = spawnSync(
    process.execPath,
    [
      join(root, "node_modules", "vitest", "vitest.mjs"),
      "run",
      ...args,
      ...reporters,
      "--reporter=json",
      `--outputFile.json=${report}`,
    ],
    { cwd: root, stdio: "inherit", env: { ...process.env, ...foldersBySlot() } },
  );
  return status;
}

/** An empty folder tells the tests that there is none, and that they need not look on PATH. */
function foldersBySlot() {
  return Object.fromEntries(Object.entries(slots).map(([slot, name]) => [name, found[slot]?.folder ?? ""]));
}

function readReport() {
  try {
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = JSON.parse(
      readFileSync(report, "utf8"),
    );
    // A file that cannot be loaded, or whose hook fails, has a failure and no failed test.
    const broken = testResults.filter(
      (file) => file.status === "failed" && file.assertionResults.every((test) => test.status !== "failed"),
    );
    return {
      files: testResults.map((file) => file.name),
      passed: numPassedTests,
      failed: numFailedTests + broken.length,
      skipped: numPendingTests + numTodoTests,
      failures: [
        ...broken.map(({ name, message }) => inOneLine(`${relative(root, name)}: ${message}`)),
        ...testResults.flatMap(({ name, assertionResults }) =>
          assertionResults
            .filter(({ status }) => status === "failed")
            .map(({ fullName, failureMessages }) =>
              inOneLine(`${relative(root, name)}: ${fullName}: ${failureMessages[0]}`),
            ),
        ),
      ],
    };
  } catch {
    return { files: [], passed: 0, failed: 0, skipped: 0, failures: [] };
  } finally {
    rmSync(report, { force: true });
  }
}

function inOneLine(text) {
  return text.replace(/\s+/g, " ").slice(0, 600);
}

function usesRealEtcd(file) {
  return readFileSync(file, "utf8").includes("realEtcds");
}

function warn(count) {
  const ran = count === undefined ? "these tests run" : `${count} test files ran`;
  const lines =
    Object.keys(found).length === 0
      ? [`REAL ETCD NOT FOUND: ${ran} on the dev server alone (${Object.values(missing)[0]})`]
      : Object.entries(missing).map(
          ([slot, why]) => `REAL ETCD ${slot} NOT FOUND: ${ran} without it (${why})`,
        );
  for (const line of lines) say(`\n*** ${line}\n`);
}

function isRequired() {
  const { REQUIRE_REAL_ETCD: required } = process.env;
  if (required === "any") return Object.keys(found).length === 0;
  return required === "1" && Object.keys(missing).length > 0;
}

function say(line) {
  process.stdout.write(`${line}\n`);
}
