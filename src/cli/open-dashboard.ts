import { Dashboard } from "../dashboard/dashboard.ts";
import type { DashboardOptions } from "../dashboard/options.ts";

/** Opens a dashboard; where it cannot listen, the error names the flag that says where. */
export async function openDashboard(options: DashboardOptions, flag: string): Promise<Dashboard> {
  try {
    return await Dashboard.open(options);
  } catch (error) {
    // The command was right, the machine is not as it should be: no wrong usage.
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(message.replace(/^(port|host) /, `${flag}: the $1 `), { cause: error });
  }
}
