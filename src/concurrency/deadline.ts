/** How long before the end of the TTL a holder stops: clock rates, timers and scheduling are not exact. */
function marginMs(ttlMs: number): number {
  return Math.max(250, ttlMs * 0.02);
}

/**
 * Until when a lease, or a key seen, is proven: counted from the instant *before* the request was sent, for etcd
 * counted from some instant after that.
 */
export function provenUntil(sentAt: number, ttlMs: number): number {
  return sentAt + ttlMs - marginMs(ttlMs);
}

/** How often a lease is renewed and a key is looked at: three chances in a TTL, and not all clients in step. */
export function renewalPeriodMs(ttlMs: number, random: number): number {
  return (ttlMs / 3) * (0.9 + random * 0.2);
}

/** How long one endpoint has for an answer, so that a second one can be tried before the deadline. */
export function attemptTimeoutMs(ttlMs: number): number {
  return Math.min(2_000, Math.max(500, ttlMs / 6));
}
