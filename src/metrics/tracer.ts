import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { Cause } from "../errors.ts";
import type { DiagnosticMessages } from "../member/diagnostics.ts";
import type { Member } from "../member/member.ts";
import type { PhaseName } from "../member/phase.ts";

/** A span of OpenTelemetry, as far as it is needed here. */
export interface OtelSpan {
  setAttribute(name: string, value: string): unknown;
  setStatus(status: { code: number; message?: string }): unknown;
  end(): void;
}

/** A tracer of `@opentelemetry/api`, as far as it is needed here. */
export interface OtelTracer {
  startSpan(name: string, options?: { attributes?: Record<string, string | number> }): OtelSpan;
}

/** OpenTelemetry's number for an error. */
const errorStatus = 2;

/** What is under way in each phase: time that a failover takes, and the term itself. */
const spans: Readonly<Partial<Record<PhaseName, string>>> = {
  promoting: "succession.promote",
  leading: "succession.lead",
  demoting: "succession.demote",
};

/** Ends that nobody asked for. */
const failures: ReadonlySet<Cause> = new Set([
  "failed",
  "deadline",
  "lease-gone",
  "key-gone",
  "hung",
  "store-restored",
]);

/**
 * Tells a member's terms to a tracer of OpenTelemetry, such as `trace.getTracer("succession")` of `@opentelemetry/api`: a span
 * for each promotion (`prepare`), term (`lead`) and demotion (until the work has stopped), with election, id, token and, at
 * the end of a term, its cause. The result ends it.
 */
export function traceMember(tracer: OtelTracer, member: Member): () => void {
  let span: OtelSpan | undefined;
  const begin = (phase: PhaseName, token: bigint | undefined): void => {
    const name = spans[phase];
    if (name === undefined) return;
    const whose = { "succession.election": member.election, "succession.id": member.id };
    const attributes = { ...whose, ...(token === undefined ? {} : { "succession.token": Number(token) }) };
    span = tracer.startSpan(name, { attributes });
  };
  const end = (cause?: Cause): void => {
    if (cause !== undefined) span?.setAttribute("succession.cause", cause);
    if (cause !== undefined && failures.has(cause)) span?.setStatus({ code: errorStatus, message: cause });
    span?.end();
    span = undefined;
  };
  const hear = (message: unknown): void => {
    const told = message as DiagnosticMessages["succession:phase"];
    if (told.member !== member) return;
    end(told.cause);
    begin(told.to, told.token);
  };
  begin(member.phase, member.term?.token);
  subscribe("succession:phase", hear);
  return () => {
    unsubscribe("succession:phase", hear);
    end();
  };
}
