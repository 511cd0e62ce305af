import type { Refusal } from "../messages.ts";
import { Kept } from "./kept.ts";

/** The server gives up before. */
const patienceMs = 60_000;

/** What can be asked of the server. */
export interface Commands {
  readonly handover: { readonly election: string; readonly token: number; readonly to?: string };
  readonly pause: {
    readonly election: string;
    readonly reason: string;
    readonly forMs?: number;
    readonly by?: string;
  };
  readonly resume: { readonly election: string };
}

/** Why a command was not carried out. */
export class Refused extends Error {
  readonly code: string;
  /** Which of the reasons for `REFUSED`. */
  readonly refusal: string | undefined;

  constructor(code: string, message: string, refusal?: string) {
    super(message);
    this.code = code;
    this.refusal = refusal;
  }
}

/** Sends commands with the token, which this tab alone keeps: no cookie, no address holds it. */
export class Steering {
  readonly #token = new Kept(() => sessionStorage, "succession-token");
  readonly #changed: () => void;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  get unlocked(): boolean {
    return this.#token.value !== undefined;
  }

  /** Keeps the token if it is the right one. Rejects with `Refused` if not. */
  async unlock(token: string): Promise<void> {
    await send("token", {}, token);
    this.#token.value = token;
    this.#changed();
  }

  lock(): void {
    this.#token.value = undefined;
    this.#changed();
  }

  /** Resolves to what the server answers. Rejects with `Refused`. */
  async ask<K extends keyof Commands>(name: K, command: Commands[K]): Promise<Record<string, unknown>> {
    try {
      return await send(name, command, this.#token.value ?? "");
    } catch (error) {
      // The server was started again with another one.
      if (error instanceof Refused && error.code === "WRONG_TOKEN") this.lock();
      throw error;
    }
  }
}

async function send(path: string, body: object, token: string): Promise<Record<string, unknown>> {
  let response: Response;
  try {
    response = await fetch(`api/${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify(body),
      ...{ cache: "no-store", credentials: "omit", redirect: "error" },
      signal: AbortSignal.timeout(patienceMs),
    });
  } catch {
    throw new Refused("SERVER_SILENT", "");
  }
  const answer: unknown = await response.json().catch(() => undefined);
  if (response.ok) return answer as Record<string, unknown>;
  const { code = "", message = `${response.status}`, refusal } = (answer as Refusal | undefined)?.error ?? {};
  throw new Refused(code, message, refusal);
}
