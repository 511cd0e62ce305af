/** The server tells its reasons in English. By their codes they are told here first, and its own words, with names, follow. */
const refusals: Readonly<Record<string, string>> = {
  "no-leader": "当前无领导者",
  "no-standby": "没有备用成员",
  "another-leader": "领导者已经变更",
  paused: "选举已暂停，不能更换领导者",
  "paused-already": "选举已经处于暂停状态",
  "not-in-line": "所选成员不在队列中",
  "leads-already": "所选成员已经是领导者",
  witness: "所选成员是见证者，从不领导",
  "shared-id": "多个候选者使用同一标识",
  "under-way": "另一次移交正在进行",
  "stranger-leads": "当前领导者不是 Succession 成员，无法请求它移交",
  "strangers-between": "需要越过的候选者不是 Succession 成员，不能越过",
  "line-changes": "队列变化过快，请稍后再试",
};

const failures: Readonly<Record<string, string>> = {
  TIMEOUT: "未在规定时间内完成",
  ETCD_UNAVAILABLE: "etcd 没有应答",
  ETCD_REFUSED: "etcd 拒绝了该请求",
  PERMISSION_DENIED: "仪表盘的 etcd 用户没有所需权限",
  AUTH_FAILED: "etcd 不接受仪表盘的用户或口令",
  SESSION_LOST: "请求的租约已失效",
  CLOSED: "仪表盘正在关闭",
  FAILED: "仪表盘出错，详见其日志",
  BUSY: "正在执行的操作过多，请稍后再试",
  BAD_OPTION: "所填内容不可用",
  NOT_SHOWN: "此仪表盘不再显示该选举",
  READ_ONLY: "此仪表盘现为只读",
  FOREIGN_ORIGIN: "前面的代理没有传递 Host 标头",
};

export function refusedInChinese(refusal: string, reason: string): string {
  return `被拒绝：${withReason(refusals, refusal, reason)}`;
}

export function failedInChinese(code: string, reason: string): string {
  return `未完成：${withReason(failures, code, reason)}`;
}

function withReason(texts: Readonly<Record<string, string>>, code: string, reason: string): string {
  return Object.hasOwn(texts, code) ? `${texts[code]}（${reason}）` : reason;
}
