/**
 * Headers of what is forwarded.
 *
 * @module
 */

import { clientAddress, contentLength } from "../http.ts";

/** Headers of one connection (RFC 9110, 7.6.1), and those that `fetch` sets. */
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  // `fetch` drops trailers, so none may be announced.
  "trailer",
  "transfer-encoding",
  // Ollama has no protocol to upgrade to, and a 101 could not be tunnelled.
  "upgrade",
]);

/** Not sent upstream: these are set, and the listener has responded to `Expect: 100-continue`. */
const NOT_SENT = new Set([...HOP_BY_HOP, "expect", "accept-encoding", "x-forwarded-for"]);

/** Not returned where the body's length changes. */
const RESIZED = new Set([...HOP_BY_HOP, "content-length"]);

/**
 * Headers of the upstream request.
 *
 * @param userAgent Sent where the client sent none: `fetch` would send its own.
 */
export function requestHeaders(incoming: Headers, remoteAddr: Deno.Addr, userAgent: string): [string, string][] {
  const headers = forwardedHeaders(incoming, NOT_SENT);
  // With anything else `fetch` decompresses the response and keeps its `content-encoding`.
  headers.push(["accept-encoding", "identity"]);
  if (!incoming.has("user-agent")) headers.push(["user-agent", userAgent]);
  // Ollama's log shows the client then, as it does without a proxy (docs/ollama-api.md 5.3).
  const forwardedFor = [incoming.get("x-forwarded-for") ?? undefined, clientAddress(remoteAddr)];
  const known = forwardedFor.filter((address) => address !== undefined);
  if (known.length > 0) headers.push(["x-forwarded-for", known.join(", ")]);
  return headers;
}

/**
 * Headers of the client's response.
 *
 * @param isResized Whether the body may have another length than the upstream announces.
 */
export function responseHeaders(upstream: Headers, isResized: boolean): [string, string][] {
  return forwardedHeaders(upstream, isResized ? RESIZED : HOP_BY_HOP);
}

/**
 * Length of a response's body, in bytes. A chunked one has none, whatever `Content-Length` says (RFC 9112, 6.3).
 *
 * @returns `undefined` where it is not known.
 */
export function bodyLength(upstream: Headers): number | undefined {
  return upstream.has("transfer-encoding") ? undefined : contentLength(upstream);
}

/**
 * All headers but those dropped and those listed in `Connection`. As pairs: a `Headers` would be copied once more by
 * its receiver; by `forEach`, which costs a fifth of the iterator.
 */
function forwardedHeaders(incoming: Headers, dropped: ReadonlySet<string>): [string, string][] {
  const listed = new Set(incoming.get("connection")?.toLowerCase().split(",").map((name) => name.trim()));
  const forwarded: [string, string][] = [];
  incoming.forEach((value, name) => {
    if (!dropped.has(name) && !listed.has(name)) forwarded.push([name, value]);
  });
  return forwarded;
}
