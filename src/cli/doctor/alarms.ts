import { type Finding, orOk } from "./finding.ts";

/** An alarm that a member of etcd has raised. */
export interface AlarmSeen {
  /** `NOSPACE`, `CORRUPT`, or what a later etcd may know. */
  readonly alarm: string;
  /** The endpoint or the member. */
  readonly at: string;
}

const meanings: Readonly<Record<string, { readonly what: string; readonly todo: string }>> = {
  NOSPACE: {
    what: "the database has used up its quota: whoever leads goes on, but nobody can join",
    todo: "compact, defragment, then: etcdctl alarm disarm",
  },
  CORRUPT: {
    what: "members hold different data, and so may tell of different leaders",
    todo: "stop the services, restore a sound member, then: etcdctl alarm disarm",
  },
};

/**
 * The alarms, as far as they are told: by the list of alarms, `undefined` where the user may not see it, and by what each
 * endpoint says of itself.
 */
export function judgeAlarms(
  alarms: readonly AlarmSeen[] | undefined,
  errors: readonly { readonly name: string; readonly error: string }[],
): readonly Finding[] {
  const check = "alarms";
  const told = [...(alarms ?? [])];
  for (const { name, error } of errors) {
    for (const alarm of Object.keys(meanings)) {
      const known = told.some((each) => each.alarm === alarm);
      if (error.includes(`alarm:${alarm}`) && !known) told.push({ alarm, at: name });
    }
  }
  const findings = told.map(({ alarm, at }): Finding => {
    const { what, todo } = meanings[alarm] ?? { what: "unknown here", todo: "see etcdctl alarm list" };
    return { level: "problem", check, what: `${alarm} at ${at}: ${what}`, todo };
  });
  const none =
    alarms === undefined ? "no endpoint tells of one; the list of alarms is not to be had" : "none is raised";
  return orOk(findings, check, none);
}
