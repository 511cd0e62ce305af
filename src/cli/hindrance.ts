import type { Logger } from "../log.ts";
import { cannotJoin } from "../member/rounds.ts";
import { oneLine } from "./one-line.ts";
import type { OutageListener } from "./outages.ts";

/**
 * Tells what keeps a member out of the line: a full store, a right that is missing. Somebody looks at a terminal, and
 * must not take that for patience. It is heard from the member's log, whatever of that is shown.
 */
export class Hindrance {
  /** The member's logger. */
  readonly logger: Logger;
  readonly #listener: Pick<OutageListener, "trouble">;
  /** Whether etcd is known to be away, which is told elsewhere. */
  readonly #away: () => boolean;
  #told: string | undefined;

  constructor(logger: Logger, listener: Pick<OutageListener, "trouble">, away: () => boolean) {
    this.#listener = listener;
    this.#away = away;
    this.logger = {
      debug: (fields, message) => logger.debug(fields, message),
      info: (fields, message) => logger.info(fields, message),
      warn: (fields, message) => {
        logger.warn(fields, message);
        if (message === cannotJoin) this.#heard((fields as { readonly error?: unknown }).error);
      },
      error: (fields, message) => logger.error(fields, message),
    };
  }

  /** The member stands in line: the next time is news again. */
  over(): void {
    this.#told = undefined;
  }

  /** Once for each reason: it may come several times a second. */
  #heard(error: unknown): void {
    const reason = oneLine(error);
    if (this.#away() || reason === this.#told) return;
    this.#told = reason;
    const code = (error as { readonly code?: unknown }).code;
    this.#listener.trouble(typeof code === "string" ? code : "failed", `${cannotJoin}: ${reason}`);
  }
}
