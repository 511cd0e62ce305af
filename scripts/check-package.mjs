/**
 * Tries the package as its users get it: packs it, installs it into an empty project,
 * imports it, type-checks a consumer against it and runs its command.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const own = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** Sources, maps and types make up most of it; what is far above has packed something by mistake. */
const packedBytesMax = 1_300_000;
const neverPacked = [
  /\.test\.[jt]s$/,
  /(^|\/)\.cache(\/|$)/,
  /^(test|bench|scripts|examples|etc)\//,
  /(^|\/)node_modules\//,
];
const alwaysPacked = [
  "package.json",
  "LICENSE",
  "README.md",
  "dist/index.js",
  "dist/index.d.ts",
  "dist/cli/main.js",
  "dist/dashboard/page/index.html",
  "dist/dashboard/page/main.js",
  "dist/dashboard/page/style.css",
  "dist/testing/index.js",
  "dist/testing/index.d.ts",
];

/** The public names that must be there as soon as their layer is. */
const names = [
  { name: "Etcd", layer: "src/etcd" },
  { name: "Session", layer: "src/concurrency/session.ts" },
  { name: "Election", layer: "src/concurrency/election.ts" },
  { name: "Mutex", layer: "src/concurrency/mutex.ts" },
  { name: "Member", layer: "src/member/member.ts" },
  { name: "leaderOnly", layer: "src/traffic/leader-only.ts" },
].filter(({ layer }) => existsSync(join(root, layer)));

/** What README and documentation show of each name, so that it goes on compiling for users. */
const useOf = {
  Etcd: `
export async function connect(): Promise<Etcd> {
  const etcd = new Etcd({ endpoints: ["127.0.0.1:2379"] });
  await etcd.ready({ timeoutMs: 5_000 });
  return etcd;
}`,
  Session: `
export async function openSession(etcd: Etcd): Promise<[bigint, AbortSignal, number]> {
  await using session = await Session.open(etcd, { ttlSeconds: 5 });
  return [session.leaseId, session.signal, session.remainingMs];
}`,
  Election: `
export async function campaign(session: Session, signal: AbortSignal): Promise<void> {
  const election: Election = new Election(session, "/merc");
  const leader = await election.leader();
  const facts: [string, bigint] | undefined = leader && [leader.id, leader.token];
  await election.campaign("a:10.0.0.1:8080", { signal });
  for await (const observed of election.observe()) if (observed?.id === facts?.[0]) break;
  await election.proclaim("a:10.0.0.1:8081");
  await election.resign();
}`,
  Mutex: "",
  Member: `
export async function stand(signal: AbortSignal): Promise<void> {
  const member = await Member.join({
    endpoints: ["https://10.0.0.1:2379"],
    election: "/merc",
    id: "a:10.0.0.1:8080",
    lead: async (term) => {
      const facts: [bigint, AbortSignal, number] = [term.token, term.signal, term.remainingMs];
      await Promise.resolve(facts);
    },
  });
  const role: "leader" | "standby" = member.role;
  const leader: string | undefined = member.leader?.id;
  const token: bigint | undefined = member.term?.token;
  for await (const change of member.changes({ signal })) if (change.role === role) break;
  await member.leave();
  if (token !== undefined) throw new Error(leader);
}`,
  leaderOnly: `
export function guardOf(member: Member): (request: never, response: never) => void {
  const guard = leaderOnly(member, { otherwise: "forward", hold: { most: 10 } });
  return guard.listener((_request, response, { token, signal }) => response.end(String([token, signal.aborted])));
}`,
};

/** The same for `succession/testing`. */
const useOfTesting = `
import { type Acting, Ledger, type Link, TestServer, VirtualEtcd } from "succession/testing";
export async function failover(): Promise<readonly Acting[]> {
  await using etcd = new VirtualEtcd();
  const ledger = new Ledger({ clock: etcd.clock });
  const link: Link = etcd.link();
  const member = await Member.join({ etcd: link.client(), election: "/merc", id: "a", lead: ledger.lead("a") });
  link.silent({ only: "keepAlives", way: "toClient" });
  await etcd.clock.advance(20_000);
  await Promise.all([member.leave(), link.heal()]);
  return ledger.spells;
}
export const served: Promise<string> = TestServer.start().then((server) => server.endpoint);`;

const work = mkdtempSync(join(tmpdir(), "succession-package-"));
process.once("exit", () => rmSync(work, { recursive: true, force: true }));

if (!existsSync(join(root, "src", "index.ts"))) {
  say("skipped: there is no src/index.ts yet");
} else {
  const tarball = pack();
  const project = install(tarball);
  importIt(project);
  testWithIt(project);
  typeCheck(project);
  runCommand(project);
  say("the package works");
}

function pack() {
  run(process.execPath, [join(root, "scripts", "prepare.mjs")], root);
  const [packed] = JSON.parse(npm(["pack", "--json", "--ignore-scripts", "--pack-destination", work], root));
  const paths = packed.files.map(({ path }) => path);
  const wrong = paths.filter((path) => neverPacked.some((pattern) => pattern.test(path)));
  check(wrong.length === 0, `the tarball holds what it must not: ${wrong.slice(0, 10).join(", ")}`);
  const missing = alwaysPacked.filter((path) => existsSync(sourceOf(path)) && !paths.includes(path));
  check(missing.length === 0, `the tarball lacks ${missing.join(", ")}`);
  check(packed.size <= packedBytesMax, `the tarball has ${packed.size} bytes, more than ${packedBytesMax}`);
  say(`packed ${paths.length} files, ${packed.size} bytes (${packed.unpackedSize} unpacked)`);
  return join(work, packed.filename);
}

/** The file of the checkout whose presence makes a packed file required. */
function sourceOf(path) {
  return join(root, path.replace(/^dist\/(.*?)(\.d\.ts|\.js)$/, "src/$1.ts"));
}

function install(tarball) {
  const project = join(work, "project");
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const types = `@types/node@${own.devDependencies["@types/node"]}`;
  npm(["install", "--prefer-offline", "--no-audit", "--no-fund", tarball, types], project);
  say("installed into an empty project");
  return project;
}

function importIt(project) {
  const code = `import * as all from "succession"; console.log(JSON.stringify(Object.keys(all)));`;
  const exported = JSON.parse(run(process.execPath, ["--input-type=module", "-e", code], project));
  const missing = names.filter(({ name }) => !exported.includes(name));
  check(missing.length === 0, `these names are not exported: ${missing.map(({ name }) => name).join(", ")}`);
  say(`exports ${exported.join(", ")}`);
}

/** A member leads on each kind of etcd for tests, and the process ends by itself. */
function testWithIt(project) {
  const code = `
    import { Member } from "succession";
    import { Ledger, ManualClock, TestServer, VirtualEtcd, overlaps } from "succession/testing";
    for (const etcd of [new VirtualEtcd({ clock: new ManualClock({ seed: 1 }) }), await TestServer.start()]) {
      const ledger = new Ledger({});
      await new Promise(async (led) => {
        const lead = ledger.lead("a", led);
        const member = await Member.join({ etcd: etcd.client(), election: "/merc", id: "a", lead });
      });
      await etcd.close();
      console.log(etcd.constructor.name, ledger.spells.length, overlaps(ledger.spells).length);
    }`;
  const said = run(process.execPath, ["--input-type=module", "-e", code], project);
  check(said === "VirtualEtcd 1 0\nTestServer 1 0\n", `succession/testing does not work: ${said}`);
  say("succession/testing works");
}

function typeCheck(project) {
  const imported = names.map(({ name }) => name);
  const uses = imported.map((name) => useOf[name]);
  const source = [`import { ${imported.join(", ")} } from "succession";`, ...uses, useOfTesting];
  writeFileSync(join(project, "consumer.ts"), source.join("\n"));
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const flags = [
    "--strict",
    "--exactOptionalPropertyTypes",
    "--noEmit",
    "--module",
    "nodenext",
    "--target",
    "es2022",
  ];
  run(
    process.execPath,
    [tsc, ...flags, "--types", "node", "--skipLibCheck", "false", "consumer.ts"],
    project,
  );
  say(`a TypeScript consumer of ${imported.join(", ")} and succession/testing type-checks`);
}

function runCommand(project) {
  if (!existsSync(join(root, "src", "cli", "main.ts"))) {
    say("skipped the command: there is no src/cli/main.ts yet");
    return;
  }
  const version = npx(["succession", "--version"], project).trim();
  check(version.includes(own.version), `succession --version says ${version}, not ${own.version}`);
  const help = npx(["succession", "--help"], project);
  check(
    /demo/.test(help) && /elect/.test(help) && /status/.test(help),
    `succession --help does not name its commands: ${help}`,
  );
  say(`the command runs: succession ${version}`);
}

function npx(args, cwd) {
  return npm(["exec", "--no", "--", ...args], cwd);
}

function npm(args, cwd) {
  const path = process.env.npm_execpath;
  if (path?.endsWith(".js")) return run(process.execPath, [path, ...args], cwd);
  return run("npm", args, cwd, process.platform === "win32");
}

/** Runs to the end and returns standard output; what it said is shown only where it fails. */
function run(command, args, cwd, shell = false) {
  try {
    return execFileSync(command, args, {
      cwd,
      shell,
      encoding: "utf8",
      env: cleanEnv(),
      stdio: ["ignore", "pipe", "pipe"],
    });
  } catch (error) {
    return fail(`${command} ${args.join(" ")}\n${error.stdout ?? ""}${error.stderr ?? error.message}`);
  }
}

/** Without the settings that an outer npm hands down: they name the checkout as the project. */
function cleanEnv() {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^npm_(config_local_prefix|package_|lifecycle_)/.test(name),
    ),
  );
}

function check(holds, message) {
  if (!holds) fail(message);
}

function fail(message) {
  process.stderr.write(`check-package: FAILED: ${message}\n`);
  process.exit(1);
}

function say(line) {
  process.stdout.write(`check-package: ${line}\n`);
}
