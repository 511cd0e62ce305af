import { expect, test } from "vitest";
import { connectionReason } from "../../src/etcd/connection-reason.ts";

const none = "No connection established. Last error: ";
const ssl = (alert: string): string =>
  `${none}80ACED516E7F0000:error:0A000418:SSL routines:ssl3_read_bytes:${alert}:../deps/openssl/ssl/rec_layer_s3.c:1601:SSL alert number 48\n. (2026-11-25T12:31:02.974Z). Resolution note: `;

test.each([
  [
    ssl("tlsv13 alert certificate required"),
    "tlsv13 alert certificate required: the server wants a client certificate",
  ],
  [
    ssl("tlsv1 alert unknown ca"),
    "tlsv1 alert unknown ca: the server does not trust the authority of the client certificate",
  ],
  [
    `${none}Error: unable to verify the first certificate (2026-11-25T12:31:02.974Z). Resolution note: `,
    "unable to verify the first certificate: the server's certificate is of no authority that is trusted here",
  ],
  [
    `${none}connect ECONNREFUSED 127.0.0.1:1 (2026-11-25T12:31:02.974Z). Resolution note: `,
    "connect ECONNREFUSED 127.0.0.1:1",
  ],
  [`${none}read ECONNRESET.`, "read ECONNRESET: does the server speak TLS?"],
  ["etcdserver: no leader", undefined],
])("a lost connection has its reason, in a line, and what that means", (details, reason) => {
  expect(connectionReason(details, true)).toBe(reason);
});
