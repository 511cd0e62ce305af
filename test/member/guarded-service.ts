import { expect } from "vitest";
import type { MemberOptions } from "../../src/member/options.ts";
import { descendants } from "../supervisor/programs.ts";
import { eventually } from "../support/eventually.ts";
import { Child } from "../support/processes.ts";

/** The package as built, by its own name. */
const cwd = new URL("../..", import.meta.url).pathname;
const timeoutMs = 30_000;

/** A lease that nobody waits for in a test: whoever leads sooner was let. */
export const longTtlSeconds = 60;

/** A process with guarded members in it. */
export class GuardedService implements AsyncDisposable {
  readonly child: Child;

  private constructor(child: Child) {
    this.child = child;
  }

  static start(): GuardedService {
    const args = [new URL("guarded-service.mjs", import.meta.url).pathname];
    return new GuardedService(Child.start({ args, cwd, keepInputOpen: true }));
  }

  /** One with a member that leads, or stands by. */
  static async with(options: Partial<MemberOptions> & { readonly id: string }): Promise<GuardedService> {
    const service = GuardedService.start();
    await service.join(options);
    return service;
  }

  async join(options: Partial<MemberOptions> & { readonly id: string }): Promise<void> {
    this.child.write(`join ${JSON.stringify({ ttlSeconds: longTtlSeconds, ...options })}\n`);
    await this.child.waitFor(`joined ${options.id}`, timeoutMs);
  }

  /** Resolves when the member leads, to since when, in milliseconds of the host's clock. */
  async leads(id: string): Promise<number> {
    const line = await this.child.waitFor(`leads ${id} `, timeoutMs);
    return Number(line.split(" ").at(-1));
  }

  async leave(id: string): Promise<void> {
    this.child.write(`leave ${id}\n`);
    await this.child.waitFor(`left ${id}`, timeoutMs);
  }

  /** When it last acted in a blocked event loop. */
  get lastActAt(): number {
    const acts = this.child.lines.filter((line) => /^acts [\d.]+$/.test(line));
    return Number(acts.at(-1)?.slice("acts ".length));
  }

  /** The ids of its guardians: one, or none. */
  get guardians(): readonly number[] {
    return descendants(this.child.pid)
      .filter(({ command, state }) => command.includes("guardian-process") && state !== "Z")
      .map(({ pid }) => pid);
  }

  /** Children that nobody has reaped. */
  get zombies(): number {
    return descendants(this.child.pid).filter(({ state }) => state === "Z").length;
  }

  /** Waits for another guardian than this one. */
  async guardianAfter(pid: number): Promise<number> {
    return await eventually(
      () => {
        const [guardian] = this.guardians.filter((each) => each !== pid);
        expect(guardian).toBeDefined();
        return guardian as number;
      },
      { timeoutMs },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.cont();
    await this.child.kill();
  }
}
