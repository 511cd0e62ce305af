/**
 * The pattern of services written on Go's `concurrency` package: ask who leads, campaign, watch the session and the
 * leader, and tell the business code its role through a channel. Here the channel is an async iterable, once made from
 * a `Member`, which does all of it, and once by hand from the layer below.
 *
 *   node examples/channel-style.mjs member|session ID
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Election, Etcd, Member, Session } from "succession";

const [layer = "member", id = `channel:${process.pid}`] = process.argv.slice(2);
const { SUCCESSION_ENDPOINTS = "127.0.0.1:2379" } = process.env;
const endpoints = SUCCESSION_ENDPOINTS.split(",");
const election = "/channel";
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop.abort());

/** The business code: it knows nothing of etcd. */
async function serve(roles) {
  for await (const { role, leader, token } of roles) {
    if (role === "leader") process.stdout.write(`${id}: master, token ${token}\n`);
    else process.stdout.write(`${id}: slave of ${leader ?? "nobody"}\n`);
  }
}

/** With a member: its changes are the channel. */
async function* fromMember() {
  const member = await Member.join({ endpoints, election, id, ttlSeconds: 5, signal: stop.signal });
  stop.signal.addEventListener("abort", () => member.leave());
  for await (const { role, leader, term } of member.changes()) {
    yield { role, leader: leader?.id, token: term?.token };
  }
}

/** By hand: a session, a campaign and an observer; all three begin anew when one of them is lost. */
async function* fromSession() {
  const etcd = new Etcd({ endpoints });
  while (!stop.signal.aborted) {
    const lost = new AbortController();
    const signal = AbortSignal.any([stop.signal, lost.signal]);
    let session;
    try {
      session = await Session.open(etcd, { ttlSeconds: 5, signal });
      const candidate = new Election(session, election);
      yield { role: "standby", leader: (await candidate.leader({ signal }))?.id };
      const campaign = candidate.campaign(id, { signal });
      // The session's end ends the candidacy, and that ends the campaign or the term: one of the two is always told.
      campaign.then(
        ({ signal: led }) => {
          if (led.aborted) lost.abort();
          led.addEventListener("abort", () => lost.abort());
        },
        () => lost.abort(),
      );
      for await (const leader of candidate.observe({ signal })) {
        const ours = leader !== undefined && leader.key === candidate.key;
        const term = ours ? await campaign : undefined;
        yield { role: ours ? "leader" : "standby", leader: leader?.id, token: term?.token };
      }
    } catch (error) {
      if (!signal.aborted) {
        process.stderr.write(`${id}: ${error.message}; trying again\n`);
        await sleep(1_000);
      }
    }
    yield { role: "standby" };
    // Revokes the lease, which takes the key along: the next in line leads.
    await session?.close();
  }
  await etcd.close();
}

try {
  await serve(layer === "session" ? fromSession() : fromMember());
} catch (error) {
  // Told to stop while it was joining.
  if (!stop.signal.aborted) throw error;
}
