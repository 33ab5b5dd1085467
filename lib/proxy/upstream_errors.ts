/**
 * What the errors of Deno's `fetch` mean, by their texts: it has no codes (seen in Deno 2.9.6).
 *
 * @module
 */

import { describe } from "../errors.ts";
import type { UpstreamError } from "../observation.ts";

/** Maximum number of response headers: that of `fetch` (hyper's default; seen in Deno 2.9.6). */
const RESPONSE_HEADERS_LIMIT = 100;

/** What clients are told about a failed request: nothing that a peer has written. */
export const UPSTREAM_ERROR_TEXT: Readonly<Record<UpstreamError, string>> = {
  connect: "Connection to Ollama failed",
  reset: "Ollama closed the connection before responding",
  protocol: `Response from Ollama is not valid HTTP, or has over ${RESPONSE_HEADERS_LIMIT} headers`,
  other: "Request to Ollama failed",
};

/** Classifies a failed connection. */
export function upstreamErrorOf(error: unknown): UpstreamError {
  // The text before this quotes the URL, and its words are the client's.
  const text = describe(error).replace(/^.*: client error /s, "");
  if (/\(Connect\)|dns error|Connection refused|tls/i.test(text)) return "connect";
  if (/connection closed|reset|broken pipe|reading a body|unexpected end|unexpected EOF/i.test(text)) {
    return "reset";
  }
  if (/invalid|parsed|too large|protocol|UserUnsupported|status/i.test(text)) return "protocol";
  return "other";
}

/** Whether a request failed because its client disconnected before its body was complete. */
export function isBrokenUpload(error: unknown): boolean {
  return /^fetch failed: Cannot read request body/.test(describe(error));
}

/** Whether a body broke off because `fetch` got the signal of the client's disconnect before its reader did. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}
