import { expect } from "vitest";
import type { Cause } from "../../src/errors.ts";
import { toText } from "../../src/etcd/bytes.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import type { Acting } from "../../src/testing/ledger.ts";
import { eventually } from "../support/eventually.ts";
import { Actor, type ActorOptions, type ActorSettings, now } from "./actor.ts";

export interface SceneOptions {
  /** Where etcd is. */
  readonly endpoints: readonly string[];
  readonly election: string;
  /** Who stands, in the order in which they join. @defaultValue a, b, c */
  readonly who?: readonly string[];
  /** @defaultValue 2 */
  readonly ttlSeconds?: number;
  /** Further settings of every member. */
  readonly settings?: Partial<ActorSettings>;
  /** Settings of one member. */
  readonly settingsOf?: (id: string) => Partial<ActorSettings>;
  /** Where one member runs, and where etcd is for it. */
  readonly placeOf?: (id: string) => Pick<ActorOptions, "endpoints" | "namespace">;
  /** Who looks at the line, where etcd asks for a name. */
  readonly credentials?: { readonly user: string; readonly password: string };
  /** @defaultValue true */
  readonly proxied?: boolean;
}

/** The members of most scenes, in the order in which they join. */
export const ids: readonly string[] = ["a", "b", "c"];
const standsWithinMs = 30_000;
/** For a test that opens a scene and plays one fault: starting processes takes long where many start at once. */
export const sceneWithinMs = 120_000;

/** Members in processes of their own, in one line. */
export class Scene {
  readonly election: string;
  readonly ttlMs: number;
  /** In the order in which they joined: the leader, the first waiter, a later waiter. */
  readonly actors: readonly Actor[];
  readonly etcd: Etcd;

  /** Resolves when the first leads and the others stand behind it. */
  static async open(options: SceneOptions): Promise<Scene> {
    const { endpoints, election, ttlSeconds = 2, settings, settingsOf, placeOf, proxied = true } = options;
    const { who = ids } = options;
    const actors: Actor[] = [];
    const etcd = new Etcd({ endpoints, ...options.credentials });
    const scene = new Scene(etcd, election, ttlSeconds * 1_000, actors);
    try {
      for (const id of who) {
        const all = { election, id, ttlSeconds, ...settings, ...settingsOf?.(id) };
        actors.push(await Actor.start({ settings: all, endpoints, proxied, ...placeOf?.(id) }));
      }
      for (const actor of actors) await actor.join();
      await scene.settled(standsWithinMs);
      return scene;
    } catch (error) {
      await scene.close();
      throw error;
    }
  }

  private constructor(etcd: Etcd, election: string, ttlMs: number, actors: readonly Actor[]) {
    this.etcd = etcd;
    this.election = election;
    this.ttlMs = ttlMs;
    this.actors = actors;
  }

  /** Who acts as leader by its own word. */
  get leader(): Actor | undefined {
    return this.actors.find(({ alive, state }) => alive && state?.role === "leader");
  }

  get spells(): readonly Acting[] {
    return this.actors.flatMap(({ spells }) => spells);
  }

  get endings(): ReadonlyMap<bigint, Cause> {
    return new Map(this.actors.flatMap(({ endings }) => [...endings]));
  }

  /** The ids in the line, as etcd has it, the leader first. */
  async line(): Promise<readonly string[]> {
    return (await this.keys()).map(({ id }) => id);
  }

  /** The candidates' keys, the leader's first. */
  async keys(): Promise<readonly { readonly id: string; readonly key: string; readonly lease: bigint }[]> {
    const options = { prefix: true, sort: { by: "create" }, timeoutMs: 2_000 } as const;
    const { kvs } = await this.etcd.range(`${this.election}/`, options);
    return kvs.map(({ key, value, lease }) => ({ id: toText(value), key: toText(key), lease }));
  }

  /**
   * Resolves when every living member stands in the line once and nobody else does, the first of them leads, and all
   * know that. Returns how long it took.
   */
  async settled(timeoutMs: number): Promise<number> {
    const start = now();
    await eventually(
      async () => {
        const line = await this.line();
        const living = this.actors.filter(({ alive }) => alive);
        expect([...line].sort()).toEqual(living.map(({ id }) => id));
        const told = living.map(({ id, state }) => [id, state?.phase, state?.leader]);
        expect(told).toEqual(living.map(({ id }) => [id, id === line[0] ? "leading" : "waiting", line[0]]));
      },
      { timeoutMs, everyMs: 50 },
    );
    return now() - start;
  }

  async close(): Promise<void> {
    await Promise.all(this.actors.map((actor) => actor.close()));
    await this.etcd.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
