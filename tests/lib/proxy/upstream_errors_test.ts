/** Errors of Deno's `fetch`, by their texts: a Deno that words them otherwise fails the stories. */

import { assert, assertEquals } from "@std/assert";
import { isAbort, isBrokenUpload, upstreamErrorOf } from "../../../lib/proxy/upstream_errors.ts";

const SENDING = "error sending request from 127.0.0.1:5 for http://h/connect/reset?tls=invalid (127.0.0.1:9): ";

Deno.test("upstreamErrorOf() classifies a failed connection, whatever the client has written into its URL", () => {
  const rows: [string, string][] = [
    ["client error (Connect): tcp connect error: Connection refused (os error 111)", "connect"],
    ["client error (Connect): dns error: failed to lookup address information", "connect"],
    ["client error (Connect): received corrupt message of type InvalidContentType", "connect"],
    ["client error (SendRequest): connection closed before message completed", "reset"],
    ["client error (SendRequest): connection error: Connection reset by peer (os error 104)", "reset"],
    ["client error (SendRequest): invalid HTTP version parsed", "protocol"],
    ["client error (SendRequest): invalid content-length parsed", "protocol"],
    ["client error (SendRequest): message head is too large", "protocol"],
    ["client error (SendRequest): something new", "other"],
  ];
  for (const [text, expected] of rows) {
    const error = new TypeError("fetch failed", { cause: new Error(SENDING + text) });
    assertEquals(upstreamErrorOf(error), expected, text);
  }
  assertEquals(upstreamErrorOf(new TypeError("error reading a body from connection")), "reset");
  assertEquals(upstreamErrorOf(new Error("invalid status 600")), "protocol");
  assertEquals(upstreamErrorOf("?"), "other");
});

Deno.test("isBrokenUpload() tells the client's failure from the upstream's", () => {
  const cause = (text: string): Error => new TypeError("fetch failed", { cause: new Error(text) });
  assert(isBrokenUpload(cause("Cannot read request body as underlying resource unavailable")));
  assert(!isBrokenUpload(cause(`${SENDING}client error (SendRequest): connection closed before message completed`)));
});

Deno.test("isAbort() tells a request that was aborted from one that broke off", () => {
  assert(isAbort(new DOMException("The request has been cancelled.", "AbortError")));
  assert(!isAbort(new DOMException("x", "TimeoutError")) && !isAbort(new Error("AbortError")));
});
