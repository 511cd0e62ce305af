import type { DescMethod } from "@bufbuild/protobuf";
import type { Service } from "../devserver/grpc-service.ts";
import { servicesOf } from "../devserver/services.ts";
import { badOption } from "../errors.ts";
import type { EtcdOptions } from "../etcd/etcd.ts";
import { checkOptions } from "./arguments.ts";
import { Link, type LinkOptions } from "./link.ts";
import { ManualClock } from "./manual-clock.ts";
import { MemoryTransport } from "./memory-transport.ts";
import { TestEtcd } from "./test-etcd.ts";

/**
 * etcd without sockets, under a clock that the test moves: hours of failovers pass in milliseconds, and the same each
 * time. Its clients, and so the sessions, elections and members on them, live in its time; `setTimeout` and sockets of
 * the service under test do not.
 */
export class VirtualEtcd extends TestEtcd {
  /** The time of the store and of all its clients. It stands still until the test advances it. */
  readonly clock: ManualClock;
  /** The link that there is from the beginning. */
  override readonly main: Link;
  #linksOpened = 0;

  /** `clock` may be shared by several. Throws `BAD_OPTION`. @defaultValue a clock with the seed 1 */
  constructor(options: { readonly clock?: ManualClock } = {}) {
    checkOptions(options, ["clock"]);
    const { clock = new ManualClock({ seed: 1 }) } = options;
    if (!(clock instanceof ManualClock)) throw badOption("clock", "a ManualClock", clock);
    super(clock);
    this.clock = clock;
    this.main = this.link();
  }

  /** Opens one more way to the same store. */
  link(): Link {
    return this.add(new MemoryLink(this.linkOptions, this.clock, `virtual-${++this.#linksOpened}:2379`));
  }
}

/** A way without sockets. Its endpoint is a name that only its own clients know. */
class MemoryLink extends Link {
  override readonly endpoint: string;
  readonly #clock: ManualClock;
  readonly #transports: Set<MemoryTransport> = new Set();
  #isUp = true;

  constructor(options: LinkOptions, clock: ManualClock, endpoint: string) {
    super(options);
    this.#clock = clock;
    this.endpoint = endpoint;
  }

  override async down(): Promise<void> {
    this.#isUp = false;
    for (const transport of this.#transports) transport.break("read ECONNRESET");
    this.faults.drop();
  }

  protected override async up(): Promise<void> {
    this.#isUp = true;
  }

  protected override connection(): Partial<EtcdOptions> {
    return { clock: this.#clock, connect: () => this.#connect() };
  }

  #connect(): MemoryTransport {
    const transport = new MemoryTransport({
      name: this.endpoint,
      gate: this.faults,
      isUp: () => this.#isUp,
      handler: (method) => this.#handler(method),
      onClose: () => this.#transports.delete(transport),
    });
    this.#transports.add(transport);
    return transport;
  }

  /** What answers a method now: after a restart it may be another store. */
  #handler(method: DescMethod): unknown {
    const services: readonly Service[] = servicesOf(this.store(), () => `http://${this.endpoint}`);
    return services.find(({ desc }) => desc === method.parent)?.handlers[method.localName];
  }
}
