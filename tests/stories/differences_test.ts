/** Responses that are odd but legal: what reaches a client over each listener (docs/limits.md, "Differences"). */

import { assertEquals } from "@std/assert";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { answering, startExporterOn } from "../support/helpers.ts";
import { ask, type RawResponse } from "../support/raw_client.ts";

const OK = "Content-Length: 2\r\n\r\nok";
const OK_CHUNKED = "2;ext=1\r\nok\r\n0\r\n";
const MANY = Array.from({ length: 99 }, (_, index) => `x-${index}: ${index}`);

/** What a client gets. */
interface Expected {
  /** Default: 200. */
  readonly status?: number;
  /** Default: `content-length: 2`. */
  readonly headers?: readonly string[];
  /** Default: `ok`. */
  readonly body?: string;
}

interface Odd {
  /** Default: `GET`. */
  readonly method?: string;
  readonly response: string;
  /** The connection is closed after the response. */
  readonly closes?: boolean;
  readonly expected: Expected;
}

const NONE: Expected = { headers: [], body: "" };

const RESPONSES: Record<string, Odd> = {
  "with a length and in chunks, without the length": {
    response: `HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n${OK_CHUNKED}\r\n`,
    expected: { headers: [] },
  },
  "with a wrong length and in chunks, without the length": {
    response: `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n${OK_CHUNKED}\r\n`,
    expected: { headers: [] },
  },
  "in chunks, without extensions and trailers": {
    response: `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n${OK_CHUNKED}X-T: 1\r\n\r\n`,
    expected: { headers: [] },
  },
  "to HEAD without a length, and none is added": {
    method: "HEAD",
    response: "HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n",
    expected: { headers: ["x-a: 1"], body: "" },
  },
  "to HEAD in chunks, and no length is added": {
    method: "HEAD",
    response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    expected: NONE,
  },
  "to HEAD with a length": {
    method: "HEAD",
    response: "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n",
    expected: { headers: ["content-length: 12"], body: "" },
  },
  "after a 100": { response: `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n${OK}`, expected: {} },
  "after a 103, which is dropped": {
    response: `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n${OK}`,
    expected: {},
  },
  "with status 204": { response: "HTTP/1.1 204 No Content\r\n\r\n", expected: { ...NONE, status: 204 } },
  "with status 304": {
    response: 'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n',
    expected: { status: 304, headers: ['etag: "a"'], body: "" },
  },
  "without a reason phrase": { response: `HTTP/1.1 200\r\n${OK}`, expected: {} },
  "with a status of its own": { response: `HTTP/1.1 499 Gone Away\r\n${OK}`, expected: { status: 499 } },
  "with repeated headers, joined but for cookies": {
    response: `HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n${OK}`,
    expected: { headers: ["content-length: 2", "set-cookie: a=1", "set-cookie: b=2", "x-a: 1, 2"] },
  },
  "with bytes beyond ASCII in headers": {
    response: `HTTP/1.1 200 OK\r\nX-A: caf\xe9\r\nX-B: \xc3\xa9\r\n${OK}`,
    expected: { headers: ["content-length: 2", "x-a: caf\xe9", "x-b: \xc3\xa9"] },
  },
  "with an empty header": {
    response: `HTTP/1.1 200 OK\r\nX-A:\r\n${OK}`,
    expected: { headers: ["content-length: 2", "x-a: "] },
  },
  "with the same length twice": {
    response: `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n${OK}`,
    expected: { headers: [] },
  },
  "of HTTP/1.0": { response: `HTTP/1.0 200 OK\r\n${OK}`, closes: true, expected: {} },
  "that ends with the connection": { response: "HTTP/1.1 200 OK\r\n\r\nok", closes: true, expected: { headers: [] } },
  "that is compressed": {
    response: `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n${OK}`,
    expected: { headers: ["content-encoding: gzip", "content-length: 2"] },
  },
  "with an unknown encoding": {
    response: `HTTP/1.1 200 OK\r\nContent-Encoding: x-own\r\n${OK}`,
    expected: { headers: ["content-encoding: x-own", "content-length: 2"] },
  },
  "with 100 headers": {
    response: `HTTP/1.1 200 OK\r\n${MANY.map((line) => `${line}\r\n`).join("")}${OK}`,
    expected: { headers: ["content-length: 2", ...MANY].sort() },
  },
};

/** The headers that the upstream has sent: listeners have ones of their own. */
function headersOf({ headers }: RawResponse): string[] {
  const own = ["date", "connection", "keep-alive", "transfer-encoding", "vary"];
  return headers.map(([name, value]) => `${name.toLowerCase()}: ${value}`)
    .filter((line) => !own.includes(line.split(":", 1)[0] ?? ""))
    .sort();
}

for (const server of ["deno", "node"] as const) {
  for (const [name, { method = "GET", response, closes = false, expected }] of Object.entries(RESPONSES)) {
    Deno.test(`createProxy() forwards a response ${name} (${server})`, async () => {
      await using fake = await startFakeOllama({ script: answering(response, closes ? "close" : "keep") });
      await using exporter = await startExporterOn(server, fake);
      const got = await ask(exporter.port, `${method} /x`);
      const { status = 200, headers = ["content-length: 2"], body = "ok" } = expected;
      assertEquals([got.status, got.body, got.end], [status, body, "complete"]);
      assertEquals(headersOf(got), headers);
    });
  }
}
