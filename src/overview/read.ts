import { candidate } from "../concurrency/line.ts";
import type { CallOptions, Etcd } from "../etcd/etcd.ts";
import { isPermissionDenied } from "../etcd/failure.ts";
import { KV } from "../etcd/gen/etcd_pb.ts";
import { byCreation, kvsOf, type Op, rangeOp } from "../etcd/ops.ts";
import { newestRecords, recordIn, type TermRecord } from "../member/term-record.ts";
import { metaIn, metaOps } from "./meta.ts";
import { checkOverview, defaultMostTerms, namingTheRange, type OverviewOptions } from "./options.ts";
import { type Overview, overviewOf } from "./overview.ts";

/**
 * What an election looks like now, by one linearizable transaction. Where etcd lets us read the line alone it is not
 * `complete`. Rejects with `BAD_OPTION`, or as requests to etcd do.
 */
export async function readOverview(
  etcd: Etcd,
  election: string,
  options: OverviewOptions = {},
): Promise<Overview> {
  checkOverview(election, options);
  const { metaPrefix, mostTerms = defaultMostTerms } = options;
  const line = rangeOp(byCreation(`${election}/`));
  const read = async (ops: readonly Op[], complete: boolean): Promise<Overview> => {
    const request = { success: [line, ...ops] };
    const { response } = await etcd.call(KV.method.txn, request, { ...limitsOf(options), idempotent: true });
    const [standing, ...rest] = response.responses;
    return overviewOf({
      ...{ election, line: kvsOf(standing).map(candidate), meta: complete ? metaIn(rest) : undefined },
      ...{ mostTerms, revision: response.header?.revision ?? 0n },
    });
  };
  try {
    return await read(metaOps({ election, metaPrefix }, mostTerms), true);
  } catch (error) {
    if (!isPermissionDenied(error)) throw error;
  }
  try {
    return await read([], false);
  } catch (error) {
    throw namingTheRange(error, `${election}/`);
  }
}

/** The terms of an election, the newest first. Rejects with `BAD_OPTION`, or as requests to etcd do. */
export async function readHistory(
  etcd: Etcd,
  election: string,
  options: OverviewOptions = {},
): Promise<readonly TermRecord[]> {
  checkOverview(election, options);
  const { metaPrefix, mostTerms = defaultMostTerms } = options;
  const request = { success: [newestRecords(election, mostTerms, metaPrefix)] };
  const { response } = await etcd.call(KV.method.txn, request, { ...limitsOf(options), idempotent: true });
  return kvsOf(response.responses[0]).flatMap((kv) => recordIn(kv) ?? []);
}

function limitsOf({ timeoutMs, signal }: OverviewOptions): CallOptions {
  return {
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(signal === undefined ? {} : { signal }),
  };
}
