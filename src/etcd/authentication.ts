import { unlessAborted } from "../waiting.ts";
import { EtcdError } from "./failure.ts";

/** Who we are to etcd. */
export interface User {
  readonly name: string;
  readonly password: string;
}

/** Asks etcd for a token. */
export type Authenticate = (user: User, attemptTimeoutMs: number | undefined) => Promise<string>;

/**
 * The token that etcd gave for the user's password. One request at a time fetches it, for everybody who waits: a
 * check of a password costs etcd a tenth of a second, and a change of users makes every token invalid at once.
 */
export class Authentication {
  readonly #user: User | undefined;
  readonly #authenticate: Authenticate;
  /** Empty: etcd asks for no credentials. */
  #token: string | undefined;
  #underWay: Promise<void> | undefined;

  constructor(user: User | undefined, authenticate: Authenticate) {
    this.#user = user;
    this.#authenticate = authenticate;
  }

  /** Whether there is a user, so that a refused token can be replaced. */
  get hasUser(): boolean {
    return this.#user !== undefined;
  }

  /** What goes with a request; undefined where nothing does. */
  get token(): string | undefined {
    return this.#token === "" ? undefined : this.#token;
  }

  /** etcd refused the request that went with `token`. Another that has come since is not thrown away. */
  refused(token: string | undefined): void {
    if (token === this.token) this.#token = undefined;
  }

  /**
   * Waits for a token if one is needed and there is none. Rejects with `AUTH_FAILED` for wrong credentials,
   * `ETCD_UNAVAILABLE` where no endpoint answers, or the signal's reason. Whoever asks first says how long one endpoint has.
   */
  async authorize(signal: AbortSignal | undefined, attemptTimeoutMs?: number): Promise<void> {
    if (this.#user === undefined || this.#token !== undefined) return;
    this.#underWay ??= this.#fetch(this.#user, attemptTimeoutMs);
    await unlessAborted(this.#underWay, signal);
  }

  #fetch(user: User, attemptTimeoutMs: number | undefined): Promise<void> {
    const underWay = this.#authenticate(user, attemptTimeoutMs)
      .catch((error: unknown) => {
        // A cluster that does not ask for credentials is content with any.
        if (error instanceof EtcdError && error.message.includes("authentication is not enabled")) return "";
        throw error;
      })
      .then((token) => {
        this.#token = token;
      })
      .finally(() => {
        this.#underWay = undefined;
      });
    // Everybody who waited may have left.
    underWay.catch(() => {});
    return underWay;
  }
}
