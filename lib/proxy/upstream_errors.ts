/**
 * What the texts of errors by Deno's `fetch` mean.
 *
 * @module
 */

import { describe } from "../errors.ts";
import type { UpstreamError } from "../observation.ts";

/** Where a connection failed, by what Deno's `fetch` says of it. */
export function upstreamErrorOf(error: unknown): UpstreamError {
  // What stands before this quotes the URL, and its words are the client's.
  const text = describe(error).replace(/^.*: client error /s, "");
  if (/\(Connect\)|dns error|Connection refused|tls/i.test(text)) return "connect";
  if (/connection closed|reset|broken pipe|reading a body|unexpected end|unexpected EOF/i.test(text)) {
    return "reset";
  }
  if (/invalid|parsed|too large|protocol|UserUnsupported|status/i.test(text)) return "protocol";
  return "other";
}

/** Whether a request failed because its client left before its body was complete, by what Deno's `fetch` says of it. */
export function isBrokenUpload(error: unknown): boolean {
  return /^fetch failed: Cannot read request body/.test(describe(error));
}
