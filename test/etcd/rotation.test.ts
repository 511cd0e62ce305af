import { copyFileSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Member } from "../../src/member/member.ts";
import { notebook } from "../member/world.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdServer } from "../support/etcd-server.ts";
import { eventually } from "../support/eventually.ts";
import { Authority } from "./certificates.ts";

const patience = { timeoutMs: 20_000 };

describe.concurrent("a member under mutual TLS", () => {
  test.each(realEtcds)(
    "comes back with a new authority and certificate, and over files half written, on etcd $version",
    async (binary) => {
      using before = new Authority("Before");
      using after = new Authority("After");
      const own = before.issue("client");
      const server = before.issue("server");
      const next = { client: after.issue("client"), server: after.issue("server") };
      const tls = { caFile: before.caFile, ...server, clientCertAuth: true };
      await using etcd = await EtcdServer.start({ binary, tls });
      const { logger, said } = notebook();
      await using member = await Member.join({
        ...{ endpoints: [etcd.url], tls: { ca: before.caFile, cert: own.certFile, key: own.keyFile } },
        ...{ election: "/merc", id: "a", ttlSeconds: 3, logger },
      });
      await eventually(() => expect(member.role).toBe("leader"), patience);
      const told = (field: string) => () =>
        expect(said.some(({ fields }) => String(fields["error"]).includes(`${field} must be`))).toBe(true);

      // etcd restarts, at last with everything new, while the member's files are half written, one after the other.
      const authority = readFileSync(after.caFile, "utf8");
      writeFileSync(before.caFile, authority.slice(0, 200));
      await etcd.restart();
      await eventually(told("tls.ca"), patience);
      copyFileSync(next.client.certFile, own.certFile);
      writeFileSync(before.caFile, authority);
      copyFileSync(next.server.certFile, server.certFile);
      copyFileSync(next.server.keyFile, server.keyFile);
      await etcd.restart();
      await eventually(told("tls.key"), patience);
      const renamed = join(before.folder, "renamed.pem");
      copyFileSync(next.client.keyFile, renamed);
      renameSync(renamed, own.keyFile);
      await eventually(() => expect(member.role).toBe("leader"), patience);
    },
    90_000,
  );
});
