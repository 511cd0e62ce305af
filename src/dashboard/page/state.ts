import type {
  BeatMessage,
  ElectionSummary,
  HelloMessage,
  LeasesMessage,
  Messages,
  OverviewMessage,
} from "../messages.ts";

/** Everything that the page shows. */
export interface State {
  /** To the dashboard's server. */
  readonly link: "connecting" | "live" | "lost";
  readonly hello: HelloMessage | undefined;
  readonly elections: readonly ElectionSummary[] | undefined;
  readonly more: number;
  /** Why it is not known which elections there are. */
  readonly listProblem: string | undefined;
  /** The election that is looked at. */
  readonly chosen: string | undefined;
  readonly overview: OverviewMessage | undefined;
  readonly leases: LeasesMessage | undefined;
  /** When these leases were received, in milliseconds of `performance.now()`. */
  readonly leasesAt: number;
  /** When the data was known to be right the last time, likewise. */
  readonly freshAt: number;
  /** Whether the server gets no answer from etcd. */
  readonly etcdAway: boolean;
}

export const initialState: State = {
  link: "connecting",
  hello: undefined,
  elections: undefined,
  more: 0,
  listProblem: undefined,
  chosen: undefined,
  overview: undefined,
  leases: undefined,
  leasesAt: 0,
  freshAt: 0,
  etcdAway: false,
};

/** Whether what is shown may not be so any more. */
export function isOld({ link, etcdAway }: Pick<State, "link" | "etcdAway">): boolean {
  return link === "lost" || etcdAway;
}

/** The state after a message that came at `now`. Pure. */
export function after<K extends keyof Messages>(
  state: State,
  kind: K,
  message: Messages[K],
  now: number,
): State {
  const live = { ...state, link: "live" as const };
  switch (kind) {
    case "hello":
      return { ...live, hello: message as HelloMessage };
    case "elections": {
      const { elections, more, problem } = message as Messages["elections"];
      return { ...live, elections, more, listProblem: problem };
    }
    case "overview": {
      const overview = message as OverviewMessage;
      return overview.election === state.chosen ? { ...live, overview } : live;
    }
    case "leases": {
      const leases = message as LeasesMessage;
      return leases.election === state.chosen ? { ...live, leases, leasesAt: now } : live;
    }
    default:
      return withBeat(live, message as BeatMessage, now);
  }
}

function withBeat(state: State, { awayMs }: BeatMessage, now: number): State {
  if (awayMs === undefined) return { ...state, etcdAway: false, freshAt: now };
  return { ...state, etcdAway: true, freshAt: now - awayMs };
}
