/** Where a member takes its traffic. */
export interface Address {
  readonly scheme: "http" | "https" | undefined;
  readonly host: string;
  readonly port: number;
}

/** `host:port`, `[::1]:port` or an origin such as `https://host:port`; `undefined` for anything else. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:(https?):\/\/)?(\[[0-9a-f:.%]+\]|[\w.-]+)(?::(\d{1,5}))?\/?$/i.exec(text);
  if (match === null) return undefined;
  const [, scheme = "", host = "", digits] = match;
  const known = scheme === "" ? undefined : (scheme.toLowerCase() as "http" | "https");
  const port = digits === undefined ? { http: 80, https: 443 }[known ?? "http"] : Number(digits);
  // A bare name is no address: there is no port that would be meant.
  if ((digits === undefined && known === undefined) || port === 0 || port > 65_535) return undefined;
  return { scheme: known, host: host.replace(/^\[|\]$/g, ""), port };
}

/** The address at the end of an id such as `name:host:port`, or the id itself where it is one. */
export function addressInId(id: string): Address | undefined {
  const end = /(?:^|:)(\[[0-9a-f:.%]+\]|[^:]+):(\d{1,5})$/i.exec(id);
  if (end === null) return undefined;
  // No host has a name of digits alone: that is a process id, as in `hostname:pid:random`.
  return /^\d+$/.test(end[1] as string) ? undefined : parseAddress(`${end[1]}:${end[2]}`);
}

/** As it stands in a URL. */
export function authority({ host, port }: Address): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}
