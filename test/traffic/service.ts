import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Member } from "../../src/member/member.ts";
import type { MemberSettings } from "../../src/member/options.ts";
import type { Admission } from "../../src/traffic/admissions.ts";
import type { LeaderOnlyOptions } from "../../src/traffic/guard-options.ts";
import { type LeaderOnly, leaderOnly } from "../../src/traffic/leader-only.ts";
import { eventually } from "../support/eventually.ts";
import { type RawAnswer, rawHttp } from "../support/raw-http.ts";

export type Handle = (request: IncomingMessage, response: ServerResponse, admission: Admission) => unknown;

export interface ServiceOptions {
  readonly endpoint: string;
  readonly election: string;
  readonly name: string;
  readonly guard?: LeaderOnlyOptions;
  readonly settings?: Partial<MemberSettings>;
  /** What the leader does; answers with its name by default. */
  readonly handle?: Handle;
}

/** An HTTP service that stands in an election, with a guard in front: server first, so that the id holds its port. */
export interface Service {
  readonly name: string;
  readonly server: Server;
  readonly port: number;
  readonly member: Member;
  readonly guard: LeaderOnly;
  close(): Promise<void>;
}

async function startService(options: ServiceOptions): Promise<Service> {
  const { endpoint, election, name, guard: guardOptions = {}, settings = {} } = options;
  const { handle = (_request, response) => response.end(name) } = options;
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  const id = `${name}:127.0.0.1:${port}`;
  // Long, so that a busy machine does not lose the lead where a test is about something else.
  const member = await Member.join({ endpoints: [endpoint], election, id, ttlSeconds: 30, ...settings });
  const guard = leaderOnly(member, guardOptions);
  server.on("request", guard.listener(handle));
  const close = async (): Promise<void> => {
    await member.leave();
    server.close();
    server.closeAllConnections();
  };
  return { name, server, port, member, guard, close };
}

/** A store for the tests of a file, and what they start on it. */
export interface Bench {
  readonly endpoint: string;
  /** A name that no other test uses. */
  election(): string;
  start(options: Omit<ServiceOptions, "endpoint">): Promise<Service>;
  /** A leader and those behind it, in this order. */
  line(names: readonly string[], pieces?: Partial<Omit<ServiceOptions, "name">>): Promise<Service[]>;
}

/** Services on a development server of the file's own; each test's are closed after it. */
export function bench(): Bench {
  let server: DevServer;
  let elections = 0;
  const services: Service[] = [];
  beforeAll(async () => {
    server = await DevServer.start();
  });
  afterEach(() => Promise.all(services.splice(0).map((service) => service.close())));
  afterAll(() => server.close());
  const start = async (
    options: Omit<ServiceOptions, "endpoint"> & { endpoint?: string },
  ): Promise<Service> => {
    const service = await startService({ endpoint: server.endpoint, ...options });
    services.push(service);
    return service;
  };
  const election = (): string => `/guard/${++elections}`;
  return {
    get endpoint() {
      return server.endpoint;
    },
    ...{ election, start },
    line: async (names, pieces = {}) => {
      const where = { election: election(), ...pieces };
      const started: Service[] = [];
      for (const name of names) started.push(await start({ name, ...where }));
      await eventually(() => {
        const roles = names.map((_, i) => (i === 0 ? "leader" : "standby"));
        expect(started.map(({ member }) => member.role)).toEqual(roles);
        for (const { member } of started) expect(member.line).toHaveLength(names.length);
      });
      return started;
    },
  };
}

/** A request on a connection of its own. */
export function ask({ port }: Service, ...headers: string[]): Promise<RawAnswer> {
  return rawHttp(port, ["GET /x?y=1 HTTP/1.1", "Host: service.example", "Connection: close", ...headers]);
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<unknown> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}
