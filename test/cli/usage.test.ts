import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { execute } from "./succession.ts";

const long = "a".repeat(4_097);
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "succession-usage-"));
  writeFileSync(join(folder, "password"), "secret\n");
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe.concurrent("wrong usage is named in one line, with exit code 2", () => {
  test.each<[string, readonly string[], RegExp]>([
    ["no command", [], /COMMAND is missing/],
    ["an unknown command", ["frobnicate"], /unknown command "frobnicate"/],
    ["a mistyped command", ["stauts"], /unknown command "stauts"; did you mean status\?/],
    ["an unknown topic of help", ["help", "nope"], /unknown command "nope"/],
    ["an unknown flag", ["status", "--frobnicate"], /unknown flag --frobnicate$/m],
    ["a mistyped flag", ["demo", "--round", "2"], /unknown flag --round, did you mean --rounds\?/],
    ["an unknown short flag", ["status", "-z"], /unknown flag -z/],
    ["a flag without its value", ["elect", "/merc", "a", "--ttl"], /--ttl needs a value: SECONDS/],
    ["a flag that swallows the next", ["elect", "/merc", "a", "--ttl", "--json"], /--ttl needs a value/],
    ["a switch with a value", ["status", "--json=1"], /--json takes no value, got "1"/],
    ["no election", ["elect"], /ELECTION is missing; usage: succession elect ELECTION ID/],
    ["no id", ["elect", "/merc"], /ID is missing; usage/],
    ["no election to observe", ["elect", "--listen"], /ELECTION is missing/],
    ["an argument too many", ["elect", "/merc", "a", "b"], /unexpected argument "b"/],
    ["an argument too many for observing", ["elect", "--listen", "/merc", "b"], /unexpected argument "b"/],
    ["an empty election", ["elect", "", "a"], /ELECTION must be a name such as \/merc, got ""/],
    ["an election with a trailing /", ["elect", "/merc/", "a"], /ELECTION must be .* got "\/merc\/"/],
    ["an election under _succession", ["elect", "_succession/v1", "a"], /ELECTION must be .* _succession/],
    ["the same to observe", ["elect", "--listen", "_succession"], /ELECTION must be .* _succession/],
    ["the same to look at", ["status", "/merc/"], /ELECTION must be .* got "\/merc\/"/],
    ["an empty id", ["elect", "/merc", ""], /ID must be not empty/],
    ["an id above 4 KiB", ["elect", "/merc", long], /ID must be at most 4096 bytes, got "4097 bytes"/],
    ["a TTL of 0", ["elect", "/merc", "a", "--ttl", "0"], /--ttl must be an integer of 1 or more, got 0$/m],
    ["a TTL of 1.5", ["elect", "/merc", "a", "--ttl", "1.5"], /--ttl must be .* got 1.5/],
    ["a TTL of -3", ["elect", "/merc", "a", "--ttl", "-3"], /--ttl must be .* got -3/],
    ["a TTL above etcd's", ["elect", "/merc", "a", "--ttl=9000000001"], /--ttl must be at most 9000000000/],
    ["a TTL that is no number", ["demo", "--ttl", "soon"], /--ttl must be .* got "soon"/],
    ["no rounds", ["demo", "--rounds", "0"], /--rounds must be an integer of 1 or more, got 0/],
    ["no time", ["status", "--timeout", "0"], /--timeout must be a number of seconds above 0, got 0/],
    [
      "a wrong scheme",
      ["status", "--endpoints", "ftp://etcd:2379"],
      /--endpoints must be .* "ftp:\/\/etcd:2379"/,
    ],
    ["a bad port", ["status", "--endpoints", "127.0.0.1:99999"], /--endpoints must be .* "127.0.0.1:99999"/],
    ["an empty endpoint", ["status", "--endpoints", "a:1,,b:1"], /--endpoints must be .* got ""/],
    ["a bad port to serve on", ["dev", "--listen", "127.0.0.1:65536"], /--listen must be HOST:PORT/],
    ["a certificate without its key", ["status", "--cert", "/x"], /--cert and --key must be given together/],
    [
      "a file that is not there",
      ["status", "--cacert", "/x", "--endpoints", "https://a:1"],
      /--cacert must be a readable file \(ENOENT\)/,
    ],
    ["a password on the command line", ["status", "--user", "root:secret"], /--user takes the name alone/],
    ["a user without a password", ["status", "--user", "root"], /--user needs a password/],
    ["an unknown log level", ["status", "--log-level", "loud"], /--log-level must be one of .* got "loud"/],
    ["an unknown log format", ["status", "--log-format", "xml"], /--log-format must be one of text, json/],
  ])("%s", async (_title, args, says) => {
    const { code, stdout, stderr } = await execute(args);
    expect({ code, stdout, lines: stderr.split("\n").length }).toEqual({ code: 2, stdout: "", lines: 1 });
    expect(stderr).toMatch(says);
    expect(stderr).not.toContain("secret");
  });

  test("a bad value from the environment is named by its variable", async () => {
    const { code, stderr } = await execute(["status"], { ETCDCTL_ENDPOINTS: "unix://x" });
    expect(code).toBe(2);
    expect(stderr).toMatch(/^succession status: ETCDCTL_ENDPOINTS must be/);
  });
});

describe.concurrent("where no etcd answers, one line names each endpoint, with exit code 1", () => {
  test.each<[string, readonly string[]]>([
    ["status", ["status"]],
    ["elect --listen", ["elect", "--listen", "/merc"]],
    ["elect", ["elect", "/merc", "a"]],
    ["demo", ["demo"]],
  ])("%s", async (_title, args) => {
    const { code, stdout, stderr } = await execute([
      ...args,
      ...["--timeout", "1", "--endpoints", "127.0.0.1:1,127.0.0.1:2"],
    ]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^succession \w+: .*127\.0\.0\.1:1: .*; 127\.0\.0\.1:2: .*$/);
    expect(stderr.split("\n")).toHaveLength(1);
  });
});
