/** Why no connection came about, from what grpc-js says of it; `undefined` where it says nothing of a connection. */
export function connectionReason(details: string, secure: boolean): string | undefined {
  // OpenSSL's own texts end with a newline.
  const said = /Last error: (?:Error: )?(.*?)[.;]?\s*(?:\(\d{4}-\d\d-\d\dT| Resolution note|$)/s.exec(
    details,
  );
  if (said === null) return undefined;
  const [, text = ""] = said;
  const [, reason = text] = /:error:[0-9A-F]+:SSL routines:[^:]*:([^:]+)/.exec(text) ?? [];
  return `${reason}${hint(reason, secure)}`;
}

/** The commonest mistakes, which the reasons of Node.js and OpenSSL do not name. */
function hint(reason: string, secure: boolean): string {
  // What grpc-js says where the server closed the connection before HTTP/2 had begun.
  if (!secure && reason === "Failed to connect") return ": the server hung up; does it want TLS?";
  if (!secure) return "";
  return hints.find(([pattern]) => pattern.test(reason))?.[1] ?? "";
}

const hints: readonly (readonly [RegExp, string])[] = [
  [
    // A server of plain HTTP may hang up before its answer has been read.
    /before secure TLS connection|wrong version number|packet length too long|^read ECONNRESET$/,
    ": does the server speak TLS?",
  ],
  [/alert certificate required/, ": the server wants a client certificate"],
  // Servers built with an older Go say so where there is none, too.
  [/alert bad certificate/, ": the server wants a client certificate of an authority that it trusts"],
  [/alert unknown ca/, ": the server does not trust the authority of the client certificate"],
  [/alert certificate expired/, ": the client certificate has run out"],
  [
    /unable to (verify the first|get (local )?issuer) certificate|self-signed certificate/,
    ": the server's certificate is of no authority that is trusted here",
  ],
];
