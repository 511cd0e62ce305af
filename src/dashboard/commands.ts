import { badOption, SuccessionError } from "../errors.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { handover } from "../steering/handover.ts";
import { pause, resume } from "../steering/pause.ts";
import { RefusedError } from "../steering/refusal.ts";
import type { Denial } from "./access.ts";

/** What a command has to work with. */
export interface CommandContext {
  readonly etcd: Etcd;
  readonly metaPrefix: string;
  readonly signal: AbortSignal;
}

type Body = Readonly<Record<string, unknown>>;

export type CommandName = "handover" | "pause" | "resume";

/** Who asks, unless he says his name. */
const nameless = "dashboard";

const commands: Readonly<
  Record<CommandName, (election: string, body: Body, context: CommandContext) => Promise<object>>
> = {
  async handover(election, body, { etcd, metaPrefix, signal }) {
    const to = textIn(body, "to");
    const { token: meant } = body;
    if (meant !== undefined && !Number.isSafeInteger(meant))
      throw badOption("token", "a whole number, such as 12", meant);
    const by = textIn(body, "by") ?? nameless;
    const done = await handover(etcd, election, {
      ...{ metaPrefix, signal, by },
      ...(to === undefined ? {} : { to }),
      ...(meant === undefined ? {} : { token: BigInt(meant as number) }),
    });
    const { from, to: successor, passed, accepted, durationMs } = done;
    return {
      from: from.id,
      leader: successor.id,
      token: successor.token,
      passed,
      accepted,
      durationMs: Math.round(durationMs),
    };
  },

  async pause(election, body, { etcd, metaPrefix, signal }) {
    const { reason: given, forMs } = body;
    const reason = textIn(body, "reason");
    if (reason === undefined) throw badOption("reason", "text that tells others why", given);
    if (forMs !== undefined && typeof forMs !== "number") {
      throw badOption("forMs", "a number of milliseconds", forMs);
    }
    const by = textIn(body, "by") ?? nameless;
    return await pause(etcd, election, {
      ...{ metaPrefix, signal, reason, by },
      ...(forMs === undefined ? {} : { forMs }),
    });
  },

  async resume(election, _body, { etcd, metaPrefix, signal }) {
    return { ended: (await resume(etcd, election, { metaPrefix, signal })) ?? null };
  },
};

export function isCommand(name: string): name is CommandName {
  return Object.hasOwn(commands, name);
}

/** Does what a request asks for. Rejects as the library does, with `BAD_OPTION` for a body that cannot be used. */
export function perform(
  name: CommandName,
  election: string,
  body: Body,
  context: CommandContext,
): Promise<object> {
  return commands[name](election, body, context);
}

/** What to answer to a command that failed. */
export function denialOf(error: unknown): Denial {
  if (!(error instanceof SuccessionError)) {
    return { status: 500, code: "FAILED", message: "the dashboard failed; its log says more" };
  }
  const { code, message } = error;
  const refusal = error instanceof RefusedError ? error.refusal : undefined;
  return { status: statuses[code] ?? 502, code, message, ...(refusal === undefined ? {} : { refusal }) };
}

const statuses: Readonly<Record<string, number>> = {
  BAD_OPTION: 400,
  REFUSED: 409,
  ETCD_UNAVAILABLE: 503,
  CLOSED: 503,
  TIMEOUT: 504,
};

function textIn(body: Body, field: string): string | undefined {
  const value = body[field];
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value !== "string") throw badOption(field, "text", value);
  return value;
}
