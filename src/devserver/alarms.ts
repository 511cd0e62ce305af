import { create } from "@bufbuild/protobuf";
import {
  AlarmRequest_AlarmAction as Action,
  type AlarmMember,
  AlarmMemberSchema,
  type AlarmRequest,
  AlarmType,
} from "../etcd/gen/etcd_pb.ts";

/** The alarms raised, by hand alone: this store never runs out of space. */
export class Alarms {
  #raised: AlarmMember[] = [];

  /** Carries out an alarm request; the alarms that it concerned. */
  handle({ action, alarm, memberId }: AlarmRequest): AlarmMember[] {
    if (action === Action.GET) {
      return this.#raised.filter((one) => alarm === AlarmType.NONE || one.alarm === alarm);
    }
    const known = this.#raised.find((one) => one.alarm === alarm && one.memberId === memberId);
    if (action === Action.DEACTIVATE) {
      this.#raised = this.#raised.filter((one) => one !== known);
      return known === undefined ? [] : [known];
    }
    if (action !== Action.ACTIVATE || alarm === AlarmType.NONE) return [];
    const raised = known ?? create(AlarmMemberSchema, { alarm, memberId });
    if (known === undefined) this.#raised.push(raised);
    return [raised];
  }

  has(alarm: AlarmType): boolean {
    return this.#raised.some((one) => one.alarm === alarm);
  }

  get list(): readonly AlarmMember[] {
    return this.#raised;
  }
}
