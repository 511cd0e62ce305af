/** A claim to a key. */
export function claim(key: string, token: bigint): string {
  return `${key}@${token}`;
}

/** The lease that a key's name stands for. */
export function leaseOf(key: string): bigint {
  const hex = key.slice(key.lastIndexOf("/") + 1);
  return /^[0-9a-f]+$/.test(hex) ? BigInt(`0x${hex}`) : -1n;
}

/** Claims that are over: a role that went, or a key whose deletion was sent. */
export class OverClaims {
  readonly #claims: Set<string> = new Set();
  readonly #keys: Set<string> = new Set();

  add(key: string, token: bigint): void {
    this.#claims.add(claim(key, token));
    this.#keys.add(key);
  }

  isOver(key: string, token: bigint): boolean {
    return this.#claims.has(claim(key, token));
  }

  /** Whether any claim to a key of this name is over. */
  isKeyOver(key: string): boolean {
    return this.#keys.has(key);
  }
}
