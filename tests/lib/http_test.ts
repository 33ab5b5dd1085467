import { assert, assertEquals, assertLess, assertRejects, assertStrictEquals } from "@std/assert";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import {
  type BodySink,
  BodyStream,
  clientAddress,
  contentLength,
  copyOf,
  errorResponse,
  hostPort,
  isLoopback,
  releaseMemory,
} from "../../lib/http.ts";

Deno.test("contentLength() returns a valid length", () => {
  for (const [value, length] of [["0", 0], ["42", 42], ["999999999999999", 999_999_999_999_999]] as const) {
    assertEquals(contentLength(new Headers({ "Content-Length": value })), length);
  }
});

Deno.test("contentLength() returns undefined if there is no valid length", () => {
  assertEquals(contentLength(new Headers()), undefined);
  assertEquals(contentLength(new Headers([["Content-Length", "1"], ["Content-Length", "1"]])), undefined);
  for (const value of ["", "-1", "+1", "1.0", "0x1", "1, 1", "1 1", "1000000000000000"]) {
    assertEquals(contentLength(new Headers({ "Content-Length": value })), undefined, value);
  }
});

Deno.test("releaseMemory() releases a large chunk that has its memory for itself", () => {
  const sizes = [100_000, 100].map((size) => {
    const chunk = new Uint8Array(size);
    releaseMemory(chunk);
    return chunk.length;
  });
  const shared = new Uint8Array(200_000);
  releaseMemory(shared.subarray(100_000));
  assertEquals([...sizes, shared.length], [0, 100, 200_000]);
});

Deno.test("hostPort() puts IPv6 addresses in brackets", () => {
  assertEquals(hostPort({ hostname: "::1", port: 80 }), "[::1]:80");
  assertEquals(hostPort({ hostname: "127.0.0.1", port: 0 }), "127.0.0.1:0");
});

Deno.test("clientAddress() returns the address, and that of an IPv4-mapped one", () => {
  const addresses = {
    "1.2.3.4": "1.2.3.4",
    "::ffff:1.2.3.4": "1.2.3.4",
    "::FFFF:1.2.3.4": "1.2.3.4",
    "::1": "::1",
    "::ffff:0:1.2.3.4": "::ffff:0:1.2.3.4",
    "2001:db8::ffff:1": "2001:db8::ffff:1",
  };
  for (const [hostname, address] of Object.entries(addresses)) {
    assertEquals(clientAddress({ transport: "tcp", hostname, port: 1 }), address);
  }
  assertEquals(clientAddress({ transport: "unix", path: "/x" }), undefined);
});

const SHAPES: [path: string, status: number, body: unknown][] = [
  ["/api/chat", 502, { error: "no" }],
  ["/", 403, { error: "no" }],
  ["/v1/chat/completions", 400, { error: { message: "no", type: "invalid_request_error", param: null, code: null } }],
  ["/v1/models", 502, { error: { message: "no", type: "api_error", param: null, code: null } }],
  ["/v1/messages", 400, { type: "error", error: { type: "invalid_request_error", message: "no" } }],
  ["/v1/messages", 502, { type: "error", error: { type: "api_error", message: "no" } }],
];

for (const [path, status, body] of SHAPES) {
  Deno.test(`errorResponse() has the shape of the API for status ${status} of ${path}`, async () => {
    const response = errorResponse(status, path, "no");
    assertEquals([response.status, response.headers.get("content-type")], [status, "application/json"]);
    assertEquals(await response.json(), body);
  });
}

Deno.test("copyOf() returns the same text, without that which it was taken from", () => {
  assertEquals(["", "a", "é😀"].map(copyOf), ["", "a", "é😀"]);
  assertEquals(copyOf("\ud800"), "\ufffd");
  setFlagsFromString("--expose-gc");
  const collectGarbage: () => void = runInNewContext("gc");
  const megabyte = 1_000_000;
  const shortened = (index: number) => copyOf(`${index}`.padEnd(megabyte, "x").toUpperCase().slice(0, 100));
  collectGarbage();
  const before = Deno.memoryUsage().heapUsed;
  const kept = Array.from({ length: 50 }, (_, index) => shortened(index));
  collectGarbage();
  assertLess(Deno.memoryUsage().heapUsed - before, 10 * megabyte);
  assertEquals(kept.length, 50);
});

Deno.test("isLoopback() holds for addresses that other machines do not reach", () => {
  for (
    const hostname of ["localhost", "LOCALHOST", "127.0.0.1", "127.0.1.1", "127.255.0.3", "::1", "::ffff:127.0.0.1"]
  ) {
    assert(isLoopback(hostname), hostname);
  }
  for (
    const hostname of [
      "0.0.0.0",
      "::",
      "",
      "192.168.1.5",
      "10.0.0.127",
      "box",
      "box.local",
      "::ffff:10.0.0.1",
      "fe80::1",
    ]
  ) assert(!isLoopback(hostname), hostname);
});

Deno.test("BodyStream enqueues copies of its source's chunks, ends as the source does, and cancels it", async () => {
  const stream = (end: (sink: BodySink) => void, cancelled: unknown[] = []): BodyStream => {
    let pulls = 0;
    return new BodyStream({
      pull(sink): void {
        if (pulls++ > 0) return end(sink);
        const chunk = new TextEncoder().encode("a");
        sink.enqueue(chunk);
        chunk[0] = 0;
      },
      cancel: (reason) => Promise.resolve(void cancelled.push(reason)),
    });
  };
  assertEquals(await new Response(stream((sink) => sink.close())).text(), "a");
  const broken = new Error("gone");
  assertStrictEquals(await assertRejects(() => new Response(stream((sink) => sink.error(broken))).text()), broken);
  const cancelled: unknown[] = [];
  await stream(() => {}, cancelled).cancel("left");
  assertEquals(cancelled, ["left"]);
});
