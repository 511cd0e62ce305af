export type { CampaignOptions } from "./concurrency/election.ts";
export { Election } from "./concurrency/election.ts";
export type { Candidate } from "./concurrency/line.ts";
export type { Held } from "./concurrency/mutex.ts";
export { Mutex } from "./concurrency/mutex.ts";
export type { Leader, ObserveOptions } from "./concurrency/observer.ts";
export { Observer } from "./concurrency/observer.ts";
export type { OnHang } from "./concurrency/renewal-protocol.ts";
export type { SessionOptions } from "./concurrency/session.ts";
export { Session } from "./concurrency/session.ts";
export { Term } from "./concurrency/term.ts";
export type { Cause, ErrorCode } from "./errors.ts";
export { causes, EndedError, errorCodes, SuccessionError } from "./errors.ts";
export type { Bytes, KeyRangeOptions } from "./etcd/bytes.ts";
export type {
  CallOptions,
  DeleteOptions,
  EtcdOptions,
  LeaseGrantOptions,
  PutOptions,
  RangeOptions,
  ReadyOptions,
} from "./etcd/etcd.ts";
export { Etcd } from "./etcd/etcd.ts";
export { EtcdError } from "./etcd/failure.ts";
export type {
  CompactionResponse,
  DeleteRangeResponse,
  Event,
  KeyValue,
  LeaseGrantResponse,
  LeaseLeasesResponse,
  LeaseRevokeResponse,
  LeaseStatus,
  LeaseTimeToLiveResponse,
  Member as EtcdMember,
  MemberListResponse,
  PutResponse,
  RangeResponse,
  ResponseHeader,
  ResponseOp,
  StatusResponse,
  TxnResponse,
} from "./etcd/gen/etcd_pb.ts";
export { Event_EventType as EventType } from "./etcd/gen/etcd_pb.ts";
export type { Compare, Op, RangeSort, TxnRequest } from "./etcd/ops.ts";
export { created, deleteOp, getOp, modified, putOp } from "./etcd/ops.ts";
export type { TlsOptions } from "./etcd/tls.ts";
export type { WatchEvents, WatchRequest } from "./etcd/watch.ts";
export type { CheckupOptions, HealthProbe } from "./health/checkup.ts";
export type { HealthCheck, HealthCodes, HealthOptions } from "./health/options.ts";
export type { Logger } from "./log.ts";
export type { MemberDetails } from "./member/details.ts";
export type {
  DiagnosticChannel,
  DiagnosticMessages,
  MemberMessage,
  RoleChangeCause,
} from "./member/diagnostics.ts";
export type { MemberChange, Role } from "./member/member.ts";
export { Member } from "./member/member.ts";
export type { MemberConnection, MemberOptions, MemberSettings } from "./member/options.ts";
export type { Phase, PhaseName } from "./member/phase.ts";
export { phases } from "./member/phase.ts";
export type { Metric, MetricLabels, MetricSample, MetricSource } from "./metric.ts";
export { exposition } from "./metric.ts";
export type {
  InstrumentOptions,
  ObservableCallback,
  ObservableInstrument,
  OtelMeter,
} from "./metrics/meter.ts";
export { meterMetrics } from "./metrics/meter.ts";
export type { PromRegistry } from "./metrics/prom-client.ts";
export { registerMetrics } from "./metrics/prom-client.ts";
export type { OtelSpan, OtelTracer } from "./metrics/tracer.ts";
export { traceMember } from "./metrics/tracer.ts";
export type { Handover, HandoverOptions } from "./steering/handover.ts";
export { handover } from "./steering/handover.ts";
export type { SteeringOptions } from "./steering/options.ts";
export type { Pause, PauseOptions } from "./steering/pause.ts";
export { pause, readPause, resume } from "./steering/pause.ts";
export type { Admission } from "./traffic/admissions.ts";
export { closeServer } from "./traffic/close-server.ts";
export type { GatewayChange } from "./traffic/gateway.ts";
export { Gateway } from "./traffic/gateway.ts";
export type { GatewayOptions, GatewaySettings } from "./traffic/gateway-options.ts";
export type { WaitReason } from "./traffic/gateway-route.ts";
export type { GatewayStats } from "./traffic/gateway-stats.ts";
export type { LeaderOnlyOptions, Otherwise } from "./traffic/guard-options.ts";
export type {
  FastifyReplyLike,
  FastifyRequestLike,
  HonoContextLike,
  LeaderOnly,
} from "./traffic/leader-only.ts";
export { leaderOnly } from "./traffic/leader-only.ts";
