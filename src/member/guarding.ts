import type { Candidacy } from "../concurrency/candidacy.ts";
import { candidateKey } from "../concurrency/naming.ts";
import type { Session } from "../concurrency/session.ts";
import type { TakeoverOptions } from "../concurrency/takeover.ts";
import type { Charge } from "../guardian/charge.ts";
import { Guardian } from "../guardian/guardian.ts";
import type { Logger } from "../log.ts";
import type { CheckedSettings } from "./options.ts";

/** What a member has its guardian do; nothing, where it wants none. */
export class Guarding {
  readonly #settings: CheckedSettings;
  readonly #logger: Logger;
  #guardian: Guardian | undefined;

  constructor(settings: CheckedSettings, logger: Logger) {
    this.#settings = settings;
    this.#logger = logger;
  }

  /** Resolves when somebody is there to guard, which must be before there is a key. Never rejects. */
  async begin(): Promise<void> {
    if (!this.#settings.guardian) return;
    this.#guardian ??= Guardian.engage(this.#logger);
    await this.#guardian.ready();
  }

  /** Entrusts a lease, before the key can stand, and the key when it does. */
  hold(session: Session, candidacy?: Candidacy, takeover?: TakeoverOptions): void {
    const { connection } = session.etcd;
    if (this.#guardian === undefined || connection === undefined) return;
    const { election, hang } = this.#settings;
    const ttlMs = session.ttlSeconds * 1_000;
    const charge: Charge = {
      ...{ leaseId: String(session.leaseId), ttlMs, connection, hangAfterMs: hang.hangAfterMs ?? ttlMs },
      key: candidateKey(election, session.leaseId),
      ...(candidacy === undefined ? {} : { token: String(candidacy.token) }),
      ...(takeover === undefined ? {} : { marksPrefix: takeover.marksPrefix }),
    };
    this.#guardian.hold(charge);
  }

  /** The member has given the lease back by itself, or left it to its end. */
  drop({ leaseId }: Session): void {
    this.#guardian?.drop(String(leaseId));
  }

  async end(): Promise<void> {
    await this.#guardian?.dismiss(this.#logger);
  }
}
