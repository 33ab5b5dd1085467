/** Headers that are forwarded, and those that are not. What clients see is in tests/stories/transparency_test.ts. */

import { assertEquals } from "@std/assert";
import { requestHeaders, responseHeaders } from "../../../lib/proxy/headers.ts";

const CLIENT: Deno.NetAddr = { transport: "tcp", hostname: "192.0.2.7", port: 40_000 };

Deno.test("requestHeaders() drops hop-by-hop headers, and sets what fetch() would set", () => {
  const incoming = new Headers({
    "accept": "text/event-stream",
    "accept-encoding": "gzip, br",
    "authorization": "Bearer x",
    "connection": "keep-alive, X-Hop",
    "expect": "100-continue",
    "host": "exporter:8000",
    "te": "trailers",
    "upgrade": "h2c",
    "x-hop": "1",
  });
  assertEquals(requestHeaders(incoming, CLIENT, "ollama-exporter/1"), [
    ["accept", "text/event-stream"],
    ["authorization", "Bearer x"],
    ["host", "exporter:8000"],
    ["accept-encoding", "identity"],
    ["user-agent", "ollama-exporter/1"],
    ["x-forwarded-for", "192.0.2.7"],
  ]);
});

Deno.test("requestHeaders() appends the client to x-forwarded-for, and keeps its user agent", () => {
  const incoming = new Headers({ "user-agent": "curl/8", "x-forwarded-for": "198.51.100.1" });
  const expected = [["user-agent", "curl/8"], ["accept-encoding", "identity"]];
  const address = ["x-forwarded-for", "198.51.100.1, 192.0.2.7"];
  assertEquals(requestHeaders(incoming, CLIENT, "x"), [...expected, address] as [string, string][]);
  assertEquals(requestHeaders(new Headers(), { transport: "unix", path: "/x" }, "x"), [
    ["accept-encoding", "identity"],
    ["user-agent", "x"],
  ]);
});

Deno.test("responseHeaders() drops the length of a body that is resized, and of no other", () => {
  const upstream = new Headers({ "content-length": "5", "content-type": "text/plain", "keep-alive": "timeout=5" });
  assertEquals(responseHeaders(upstream, false), [["content-length", "5"], ["content-type", "text/plain"]]);
  assertEquals(responseHeaders(upstream, true), [["content-type", "text/plain"]]);
});
