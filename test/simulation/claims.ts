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
  readonly #strays: Set<string> = new Set();

  add(key: string, token: bigint): void {
    this.#claims.add(claim(key, token));
    if (!this.isStray(key, token)) this.#keys.add(key);
  }

  /** A late request has put this key, and nobody ever claimed it: its session lives on. */
  addStray(key: string, token: bigint): void {
    this.#strays.add(claim(key, token));
  }

  isStray(key: string, token: bigint): boolean {
    return this.#strays.has(claim(key, token));
  }

  isOver(key: string, token: bigint): boolean {
    return this.#claims.has(claim(key, token));
  }

  /** Whether any claim to a key of this name is over. */
  isKeyOver(key: string): boolean {
    return this.#keys.has(key);
  }
}
