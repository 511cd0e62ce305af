import { metaFolder } from "../concurrency/naming.ts";
import { toText } from "../etcd/bytes.ts";
import { Event_EventType, type KeyValue, type ResponseOp } from "../etcd/gen/etcd_pb.ts";
import { byCreation, getOp, kvsOf, type Op, rangeOp } from "../etcd/ops.ts";
import type { WatchEvents } from "../etcd/watch.ts";
import { detailsPrefix } from "../member/details.ts";
import { historyPrefix, newestRecords, recordIn, type TermRecord, tokenOf } from "../member/term-record.ts";
import { handoverKey, pauseKey } from "../steering/names.ts";
import { pauseIn, type StandingPause } from "../steering/pause.ts";
import { type HandoverRequest, requestIn } from "../steering/request.ts";
import { type Told, toldIn } from "./told.ts";

/** What is stored about an election beside its line. */
export interface Meta {
  /** What members tell about themselves, by the name of their key: their lease in hex. */
  readonly told: ReadonlyMap<string, Told>;
  readonly pause: StandingPause | undefined;
  readonly request: HandoverRequest | undefined;
  readonly terms: ReadonlyMap<bigint, TermRecord>;
}

/** Where an election's things are. */
export interface Whose {
  readonly election: string;
  readonly metaPrefix: string | undefined;
}

/** What reads it in a transaction; of the records only so many of the newest. */
export function metaOps({ election, metaPrefix }: Whose, mostTerms: number): readonly Op[] {
  return [
    rangeOp(byCreation(detailsPrefix(election, metaPrefix))),
    getOp(pauseKey(election, metaPrefix)),
    getOp(handoverKey(election, metaPrefix)),
    newestRecords(election, mostTerms, metaPrefix),
  ];
}

/** It, by what those operations found. */
export function metaIn(responses: readonly ResponseOp[]): Meta {
  const [details = [], [paused] = [], [requested] = [], records = []] = responses.map(kvsOf);
  return {
    told: new Map(details.map((kv) => [nameOf(kv), toldIn(kv)])),
    pause: paused === undefined ? undefined : pauseIn(paused),
    request: requested === undefined ? undefined : requestIn(requested),
    terms: new Map(records.flatMap((kv) => recordIn(kv) ?? []).map((each) => [each.token, each])),
  };
}

/** It after one revision more; the very same object where that does not concern it. */
export function withEvents(meta: Meta, whose: Whose, { events }: WatchEvents): Meta {
  let after = meta;
  for (const { type, kv } of events) {
    if (kv !== undefined) after = withEvent(after, whose, kv, type === Event_EventType.DELETE);
  }
  return after;
}

function withEvent(meta: Meta, { election, metaPrefix }: Whose, kv: KeyValue, gone: boolean): Meta {
  const key = toText(kv.key);
  if (key === pauseKey(election, metaPrefix)) return { ...meta, pause: gone ? undefined : pauseIn(kv) };
  if (key === handoverKey(election, metaPrefix))
    return { ...meta, request: gone ? undefined : requestIn(kv) };
  if (key.startsWith(detailsPrefix(election, metaPrefix))) {
    return { ...meta, told: changed(meta.told, nameOf(kv), gone ? undefined : toldIn(kv)) };
  }
  const token = key.startsWith(historyPrefix(election, metaPrefix)) ? tokenOf(key) : undefined;
  if (token === undefined) return meta;
  return { ...meta, terms: changed(meta.terms, token, gone ? undefined : recordIn(kv)) };
}

/** The folder under which all of it is. */
export function metaKey({ election, metaPrefix }: Whose): string {
  return metaFolder(election, metaPrefix);
}

function changed<K, V>(map: ReadonlyMap<K, V>, key: K, value: V | undefined): ReadonlyMap<K, V> {
  const after = new Map(map);
  if (value === undefined) after.delete(key);
  else after.set(key, value);
  return after;
}

function nameOf(kv: KeyValue): string {
  const key = toText(kv.key);
  return key.slice(key.lastIndexOf("/") + 1);
}
