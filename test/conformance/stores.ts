import { afterAll, beforeAll, describe } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Etcd, type EtcdOptions } from "../../src/etcd/etcd.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdServer } from "../support/etcd-server.ts";

/** A server to hold the client against, and the clients of the running test. */
export interface Store {
  /** `host:port`. */
  readonly endpoint: string;
  /** A client of it, or of the endpoints given instead; closed after the file's tests. */
  client(options?: Partial<EtcdOptions>): Etcd;
  /** A name that no other test uses. */
  key(name?: string): string;
}

interface Server {
  readonly endpoint: string;
  close(): Promise<void>;
}

const kinds: readonly { readonly name: string; readonly start?: () => Promise<Server> }[] = [
  { name: "the dev server", start: () => DevServer.start() },
  ...["3.4", "3.5"].map((version) => {
    const binary = realEtcds.find((each) => each.version === version);
    const name = `etcd ${version}`;
    return binary === undefined ? { name } : { name, start: () => EtcdServer.start({ binary }) };
  }),
];

let names = 0;

/** Runs the same cases on the dev server and on every real etcd; one that is not on this machine shows as skipped. */
export function onEveryStore(title: string, cases: (store: Store) => void): void {
  describe.each(kinds)(`${title} on $name`, ({ start }) => {
    let server: Server | undefined;
    const clients: Etcd[] = [];
    beforeAll(async () => {
      server = await start?.();
    });
    afterAll(async () => {
      await Promise.all(clients.map((client) => client.close()));
      await server?.close();
    });
    const store: Store = {
      get endpoint() {
        if (server === undefined) throw new Error("the server has not started");
        return server.endpoint;
      },
      client: (options = {}) => {
        const client = new Etcd({ endpoints: [store.endpoint], ...options });
        clients.push(client);
        return client;
      },
      key: (name = "") => `/${++names}/${name}`,
    };
    describe.skipIf(start === undefined)("", () => cases(store));
  });
}
