import type { Candidate } from "../concurrency/line.ts";
import { toText } from "../etcd/bytes.ts";
import type { Surroundings } from "../member/companion.ts";
import { detailsKey, parseDetails } from "../member/details.ts";
import { type Address, trafficAddress } from "./address.ts";

/** Details are put just after the key: so long they may be missing, and are looked for again. */
const lateMs = 2_000;
const againMs = 250;
/** A read of one key; who waits for it holds a request. */
const readMs = 2_000;
/** How many leaders are remembered. */
const most = 16;

interface Entry {
  readonly askedAt: number;
  readAt: number;
  reading: Promise<void> | undefined;
  address: Address | undefined;
  /** Nothing else is to be expected. */
  settled: boolean;
}

/**
 * The addresses of candidates: what their details in etcd say, else what their id ends in. A key's details never change,
 * so each is read once, and known by its token.
 */
export class LeaderAddresses {
  readonly #surroundings: Surroundings;
  readonly #entries: Map<bigint, Entry> = new Map();
  readonly #onKnown: () => void;

  constructor(surroundings: Surroundings, onKnown: () => void) {
    this.#surroundings = surroundings;
    this.#onKnown = onKnown;
  }

  /** The address, `"unusable"` if there will be none, `undefined` if it is not yet known: then it is being read. */
  look(candidate: Candidate): Address | "unusable" | undefined {
    const entry = this.#entry(candidate);
    if (!entry.settled) void this.#read(candidate, entry);
    return entry.address ?? (entry.settled ? "unusable" : undefined);
  }

  /** The same when it is known, if only from the id. Never rejects. */
  async find(candidate: Candidate): Promise<Address | undefined> {
    const entry = this.#entry(candidate);
    if (!entry.settled) await this.#read(candidate, entry);
    return entry.address;
  }

  #entry({ token }: Candidate): Entry {
    const known = this.#entries.get(token);
    if (known !== undefined) return known;
    const askedAt = this.#surroundings.etcd.clock.now();
    const entry = {
      ...{ askedAt, readAt: Number.NEGATIVE_INFINITY, reading: undefined, address: undefined },
      settled: false,
    };
    this.#entries.set(token, entry);
    for (const old of [...this.#entries.keys()].slice(0, -most)) this.#entries.delete(old);
    return entry;
  }

  #read(candidate: Candidate, entry: Entry): Promise<void> {
    const { clock } = this.#surroundings.etcd;
    if (entry.reading === undefined && clock.now() - entry.readAt < againMs) return Promise.resolve();
    entry.reading ??= this.#ask(candidate, entry).finally(() => {
      entry.reading = undefined;
      entry.readAt = clock.now();
      this.#onKnown();
    });
    return entry.reading;
  }

  /** Never rejects. */
  async #ask(candidate: Candidate, entry: Entry): Promise<void> {
    const { etcd, line, metaPrefix, logger } = this.#surroundings;
    try {
      const key = detailsKey(line.election, candidate.leaseId, metaPrefix);
      const { kvs } = await etcd.range(key, { timeoutMs: readMs });
      const details = kvs[0] === undefined ? {} : parseDetails(toText(kvs[0].value));
      entry.address = trafficAddress(candidate.id, details);
      entry.settled = kvs.length > 0 || etcd.clock.now() - entry.askedAt > lateMs;
      if (!entry.settled || entry.address !== undefined) return;
      const fields = { leader: candidate.id, address: details.address };
      logger.warn(fields, "a leader tells no usable address: set `address` to its host:port when it joins");
    } catch (error) {
      entry.address ??= trafficAddress(candidate.id);
      logger.debug({ error, leader: candidate.id }, "cannot read a leader's details yet");
    }
  }
}
