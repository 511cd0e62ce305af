/** What a gateway has done since it was opened, and what it is doing. Counters only grow. */
export interface GatewayStats {
  /** Connections that wait for a leader, or are being connected to it. */
  readonly waiting: number;
  /** Connections that are connected to a leader. */
  readonly open: number;
  /** Connections taken from clients. */
  readonly accepted: number;
  /** Connections that reached a leader. */
  readonly forwarded: number;
  /** Reset because too many were waiting, or open. */
  readonly refusedFull: number;
  /** Reset because no leader took them in time. */
  readonly refusedLate: number;
  /** Attempts to connect to a leader that failed; the clients went on waiting. */
  readonly connectFailures: number;
  /** Those of them that would have come back to the gateway itself. */
  readonly loops: number;
  /** Terms whose leader told no address that could be used. */
  readonly addressFailures: number;
  /** Cut because the term of their leader ended otherwise than by plan. */
  readonly cutByTermEnd: number;
  /** Cut because no read confirmed the leader any more. */
  readonly cutByStaleness: number;
  /** Cut because a leader was sent something and has not answered for `answerMs`. */
  readonly cutBySilence: number;
  /** Ended because they had not ended by themselves when the time to drain was over. */
  readonly cutByDrainEnd: number;
  /** Connections that broke on either side after they had reached a leader. */
  readonly broken: number;
  /** Connections on which a leader was sent something and has not answered for `silentMs`. */
  readonly silent: number;
  readonly bytesToLeader: number;
  readonly bytesToClients: number;
}

/** The counters, to be counted up. */
export type GatewayCounters = {
  -readonly [K in keyof Omit<GatewayStats, "waiting" | "open">]: number;
};

export function newCounters(): GatewayCounters {
  return {
    ...{ accepted: 0, forwarded: 0, refusedFull: 0, refusedLate: 0, connectFailures: 0, loops: 0 },
    ...{ addressFailures: 0, cutByTermEnd: 0, cutByStaleness: 0, cutBySilence: 0, cutByDrainEnd: 0 },
    ...{ broken: 0, silent: 0, bytesToLeader: 0, bytesToClients: 0 },
  };
}
