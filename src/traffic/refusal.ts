import { authority } from "./address.ts";
import type { Exchange, Refusal } from "./exchange.ts";
import type { CheckedGuard } from "./guard-options.ts";
import { headerText, leaderHeader } from "./headers.ts";
import type { Whereabout } from "./whereabouts.ts";

/** The answer to a request that is not for this member, and is not passed on; `trouble` says why not, if it was tried. */
export function refusal(
  { request }: Exchange,
  where: Whereabout,
  options: CheckedGuard,
  trouble?: Error,
): Refusal {
  if (where.at === "there" && options.otherwise === "redirect") {
    const { url = "/", socket } = request;
    const scheme = where.address.scheme ?? ("encrypted" in socket ? "https" : "http");
    const location = `${scheme}://${authority(where.address)}${url.startsWith("/") ? url : "/"}`;
    return { status: 307, headers: { ...about(where), location }, text: `${where.leader.id} leads\n` };
  }
  const headers = { ...about(where), "retry-after": `${options.retryAfterSeconds}` };
  const tried =
    where.at === "there" && trouble !== undefined ? `, and has not answered: ${trouble.message}` : "";
  return { status: 503, headers, text: `${reasonOf(where)}${tried}\n` };
}

/** The answer to a request that goes in circles. */
export function loopRefusal(where: Whereabout, hops: number): Refusal {
  const text = `members have passed this on ${hops} times; ${reasonOf(where)}, and does not get it\n`;
  return { status: 508, headers: about(where), text };
}

function reasonOf(where: Whereabout): string {
  if (where.at === "there") return `${where.leader.id} leads at ${authority(where.address)}`;
  return where.at === "nowhere" ? where.reason : "this member leads";
}

/** Behind a balancer of connections, a client that kept this one would come back to the same standby. */
function about(where: Whereabout): Readonly<Record<string, string>> {
  const leader = where.at === "here" ? undefined : where.leader;
  const known = leader === undefined ? {} : { [leaderHeader]: headerText(leader.id) };
  return { ...known, connection: "close" };
}
