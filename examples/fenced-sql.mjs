/**
 * An SQL table that refuses a deposed leader's late writes: a row holds the largest token seen, and each write raises it
 * or changes nothing. Any database with row locks can do this; here it is PostgreSQL.
 *
 *   node examples/fenced-sql.mjs ID
 *
 * The database is where PGHOST, PGUSER and PGDATABASE say; etcd where SUCCESSION_ENDPOINTS says.
 */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { Member } from "succession";

const [id = `sql:${process.pid}`] = process.argv.slice(2);
const { SUCCESSION_ENDPOINTS: endpoints = "127.0.0.1:2379" } = process.env;
const say = (text) => process.stdout.write(`${id}: ${text}\n`);
const service = "merc";

const tables = `
  create table if not exists fence (service text primary key, token bigint not null);
  create table if not exists entry (id bigserial primary key, token bigint not null, text text not null)`;

/** Raises the fence, unless a larger token has been there: then it returns no row. */
const raise = `
  insert into fence as held (service, token) values ($1, $2)
  on conflict (service) do update set token = excluded.token where held.token <= excluded.token
  returning token`;

/** The same and the write in one statement: the row stays locked until both are done. */
const write = `with fence as (${raise}) insert into entry (token, text) select token, $3 from fence`;

const pool = new pg.Pool({ max: 2 });
pool.on("error", (error) => say(`a connection was lost: ${error.message}`));
// Two that begin at once may both find no table; one of them then fails to make it.
await pool.query(tables).catch(() => pool.query(tables));

const member = await Member.join({
  ...{ endpoints: endpoints.split(","), election: "/fenced-sql", id, ttlSeconds: 5 },
  // Before anything is read: what is read afterwards, no earlier leader changes any more.
  prepare: async ({ token }) => {
    const { rowCount } = await pool.query(raise, [service, token]);
    if (rowCount === 0) throw new Error(`a newer leader than ${token} has been here`);
  },
  lead: async ({ token, signal }) => {
    for (let step = 1; !signal.aborted; step++) {
      say(`works, token ${token}`);
      await sleep(200);
      const { rowCount } = await pool.query(write, [service, token, `${id}, step ${step}`]);
      say(rowCount === 1 ? "written" : `refused, token ${token}`);
    }
  },
});

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    await member.leave();
    await pool.end();
  });
}
