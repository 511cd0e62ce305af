import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Member } from "../../src/member/member.ts";
import type { MemberSettings } from "../../src/member/options.ts";
import type { Admission } from "../../src/traffic/admissions.ts";
import type { LeaderOnlyOptions } from "../../src/traffic/guard-options.ts";
import { type LeaderOnly, leaderOnly } from "../../src/traffic/leader-only.ts";

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

export async function startService(options: ServiceOptions): Promise<Service> {
  const { endpoint, election, name, guard: guardOptions = {}, settings = {} } = options;
  const { handle = (_request, response) => response.end(name) } = options;
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  const id = `${name}:127.0.0.1:${port}`;
  const member = await Member.join({ endpoints: [endpoint], election, id, ...settings });
  const guard = leaderOnly(member, guardOptions);
  server.on("request", guard.listener(handle));
  const close = async (): Promise<void> => {
    await member.leave();
    server.close();
    server.closeAllConnections();
  };
  return { name, server, port, member, guard, close };
}
