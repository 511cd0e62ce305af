import type { ServerResponse } from "node:http";
import type { Denial } from "./access.ts";
import type { Refusal } from "./messages.ts";

/** Nothing is loaded from elsewhere, nothing is embedded elsewhere, and nothing runs that is not one of our files. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** On every answer, whatever it is. */
export const securityHeaders: Readonly<Record<string, string>> = {
  "content-security-policy": contentSecurityPolicy,
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

/** Answers with a JSON object: whole numbers of any size as numbers. */
export function answerJson(
  response: ServerResponse,
  status: number,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): void {
  const text = `${json(body)}\n`;
  response.writeHead(status, {
    ...securityHeaders,
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
    ...headers,
  });
  response.end(text);
}

export function deny(
  response: ServerResponse,
  { status, code, message, refusal }: Denial,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body: Refusal = { error: { code, message, ...(refusal === undefined ? {} : { refusal }) } };
  answerJson(response, status, body, headers);
}

export function json(value: object): string {
  return JSON.stringify(value, (_key, each: unknown) => (typeof each === "bigint" ? Number(each) : each));
}
