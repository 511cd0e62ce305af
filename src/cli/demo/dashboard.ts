import type { Dashboard } from "../../dashboard/dashboard.ts";
import type { Etcd } from "../../etcd/etcd.ts";
import type { Context } from "../command.ts";
import { dashboardTokenOf } from "../dashboard-token.ts";
import { oneLine } from "../one-line.ts";
import { openDashboard } from "../open-dashboard.ts";
import { listenAddressOf } from "../settings.ts";

/** What whoever watches a terminal gets without asking: any port that is free. */
const unasked = "127.0.0.1:0";

/**
 * Opens the page for the demo's election where it was asked for, or somebody watches. One that was not asked for and cannot
 * be opened is none of the demo's business: that is told, and `undefined` returned.
 */
export async function openDemoDashboard(
  { arguments: args, env, output, logger }: Context,
  etcd: Etcd,
  election: string,
  tell: (text: string) => void,
): Promise<Dashboard | undefined> {
  const asked = args.value("dashboard") !== undefined;
  if (!asked && (!output.looks.live || args.has("json"))) return undefined;
  const { token } = dashboardTokenOf(args, env) ?? {};
  try {
    const options = {
      ...{ etcd, logger, elections: [election], ...listenAddressOf(args, unasked, "dashboard") },
      ...(token === undefined ? {} : { token }),
    };
    const dashboard = await openDashboard(options, "--dashboard");
    tell(`the same in a browser: ${dashboard.url}`);
    return dashboard;
  } catch (error) {
    if (asked) throw error;
    tell(`no dashboard: ${oneLine(error)}`);
    return undefined;
  }
}
