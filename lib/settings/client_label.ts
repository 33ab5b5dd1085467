/**
 * The setting that says what tells clients apart.
 *
 * @module
 */

/** What tells clients apart; after `header:` stands the name of a header in lower case. */
export type ClientLabel = "address" | "api-key" | "user-agent" | `header:${string}`;

/** Headers of one connection (RFC 9110, 7.6.1), which say nothing of the client. */
const HOP_BY_HOP = ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/** Names of headers with credentials, such as Authorization, Cookie, X-Session-Id: they must not become labels. */
const CREDENTIALS = /authorization|cookie|token|secret|passw|credential|session|signature|jwt|key$|^x-auth$/;

/** Returns `undefined` for any other text, and for a header of the connection or with credentials. */
export function parseClientLabel(text: string): ClientLabel | undefined {
  if (text === "address" || text === "api-key" || text === "user-agent") return text;
  const name = /^header: ?([\w!#$%&'*+.^`|~-]+)$/.exec(text)?.[1]?.toLowerCase();
  return name === undefined || HOP_BY_HOP.includes(name) || CREDENTIALS.test(name) ? undefined : `header:${name}`;
}
