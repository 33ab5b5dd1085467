/**
 * HTTP/1.1 over both listeners: the same bytes over a raw socket, and what differs.
 *
 * The handler responds with what it received. `[status, body]` is expected of both listeners, or of each.
 */

import { assert, assertEquals } from "@std/assert";
import type { Handler, Listener } from "../../../lib/http.ts";
import { listen } from "../../../lib/listen/deno_listener.ts";
import { listenNode } from "../../../lib/listen/node_listener.ts";
import { ANY_PORT, delay, Gate, until } from "../../support/helpers.ts";
import { ask, RawClient, type RawResponse, valuesOf } from "../../support/raw_client.ts";
import { TestListener } from "../../support/test_listener.ts";

/** Status, and the body if there is one; no response at all is `"closed"`. */
type Expected = readonly [status: number, body?: string] | "closed";

/** A row of the table. */
interface Row {
  /** Request line; default: of a POST to `/echo`. Header lines. Body. */
  readonly send: readonly [line: string, headers?: readonly string[], body?: string];
  /** Of both listeners. */
  readonly both?: Expected;
  readonly deno?: Expected;
  readonly node?: Expected;
  /** Why they differ. */
  readonly because?: string;
}

const POST = "POST /echo HTTP/1.1";
const GET = "GET /target HTTP/1.1";
const CHUNKED = "Transfer-Encoding: chunked";
const ABC = "3\r\nabc\r\n0\r\n\r\n";
const UPGRADE = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"];
const WEBSOCKET = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];

const METHODS = "the parser of node:http knows the registered methods only; Ollama has no others";
const HEAD_FIRST = "node:http calls the handler before it sees the body";
const OFFERS = "Deno.serve rejects an upgrade offer with a body, which RFC 9110, 7.8 tells to ignore";

const ROWS: Record<string, Row> = {
  "a length": { send: [POST, ["Content-Length: 3"], "abc"], both: [200, "abc"] },
  "chunks": { send: [POST, [CHUNKED], ABC], both: [200, "abc"] },
  "chunks, upper case": { send: [POST, ["Transfer-Encoding: CHUNKED"], ABC], both: [200, "abc"] },
  "chunk extensions": { send: [POST, [CHUNKED], "3;a=b\r\nabc\r\n0\r\n\r\n"], both: [200, "abc"] },
  "trailers": { send: [POST, [CHUNKED, "Trailer: X"], "3\r\nabc\r\n0\r\nX: y\r\n\r\n"], both: [200, "abc"] },
  "TE": { send: ["GET /header?te HTTP/1.1", ["TE: trailers"]], both: [200, "trailers"] },
  "the body of a GET": { send: ["GET /echo HTTP/1.1", ["Content-Length: 3"], "abc"], both: [200, ""] },
  "the body of a DELETE": { send: ["DELETE /echo HTTP/1.1", ["Content-Length: 3"], "abc"], both: [200, "abc"] },
  "HEAD": { send: ["HEAD /echo HTTP/1.1"], both: [200] },
  "204": { send: ["GET /204 HTTP/1.1"], both: [204] },
  "304": { send: ["GET /304 HTTP/1.1"], both: [304] },

  "Expect: 100-continue": { send: [POST, ["Expect: 100-continue", "Content-Length: 3"], "abc"], both: [200, "abc"] },
  "another Expect": {
    send: [POST, ["Expect: something", "Content-Length: 3"], "abc"],
    deno: [200, "abc"],
    node: [417],
    because: "Ollama responds with 417, too; Deno.serve ignores the header",
  },
  "an upgrade offer": { send: [GET, UPGRADE], both: [200, "/target"] },
  "an upgrade offer with a body": {
    send: [POST, [...UPGRADE, "Content-Length: 3"], "abc"],
    deno: [400],
    node: [200, "abc"],
    because: OFFERS,
  },
  "an upgrade offer with an empty body": {
    send: [POST, [...UPGRADE, "Content-Length: 0"]],
    deno: [400],
    node: [200, ""],
    because: OFFERS,
  },
  "an upgrade offer with chunks": {
    send: [POST, [...UPGRADE, CHUNKED], ABC],
    deno: [400],
    node: [200, "abc"],
    because: OFFERS,
  },
  "an offer of WebSocket": { send: [GET, WEBSOCKET], both: [200, "/target"] },
  "CONNECT": {
    send: ["CONNECT h:1 HTTP/1.1"],
    deno: [200, ""],
    node: [200, "/h:1"],
    because: "the handlers reject CONNECT; only the URL differs",
  },

  "an absolute target": { send: ["GET http://other/target?a HTTP/1.1"], both: [200, "/target?a"] },
  "OPTIONS *": { send: ["OPTIONS * HTTP/1.1"], both: [200, "/*"] },
  "a fragment": { send: ["GET /target#a HTTP/1.1"], both: [200, "/target#a"] },
  "raw UTF-8 in the target": {
    send: ["GET /\u00e9?\u00e9 HTTP/1.1"],
    deno: [200, "/\xc3\xa9?\xc3\xa9"],
    node: [400],
    because: "the parser of node:http accepts ASCII only; no path of Ollama has other characters",
  },
  "a space in the target": { send: ["GET /a b HTTP/1.1"], both: [400] },
  "a target of 60,000 characters": {
    send: [`GET /${"u".repeat(60_000)} HTTP/1.1`],
    both: [200, `/${"u".repeat(60_000)}`],
  },
  "M-SEARCH": { send: ["M-SEARCH /target HTTP/1.1"], both: [200, "/target"] },
  "PROPFIND": { send: ["PROPFIND /target HTTP/1.1"], both: [200, "/target"] },
  "a method of one's own": { send: ["FOO /target HTTP/1.1"], deno: [200, "/target"], node: [400], because: METHODS },
  "a method in lower case": { send: ["get /target HTTP/1.1"], deno: [200, "/target"], node: [400], because: METHODS },
  "TRACK": { send: ["TRACK /target HTTP/1.1"], deno: [200, "/target"], node: [400], because: METHODS },

  "HTTP/1.0": { send: ["GET /target HTTP/1.0"], both: [200, "/target"] },
  "HTTP/1.0, persistent": { send: ["GET /target HTTP/1.0", ["Connection: keep-alive"]], both: [200, "/target"] },
  "HTTP/1.2": { send: ["GET /target HTTP/1.2"], both: [400] },
  "HTTP/2.0": { send: ["GET /target HTTP/2.0"], deno: [400], node: [505], because: "the same refusal" },
  "chunks in HTTP/1.0": {
    send: ["POST /echo HTTP/1.0", [CHUNKED], ABC],
    deno: [400],
    node: [200, "abc"],
    because: "node:http reads them and closes the connection, as RFC 9112, 6.1 demands",
  },

  "repeated headers": { send: ["GET /header?x-a HTTP/1.1", ["X-A: 1", "x-a: 2"]], both: [200, "1, 2"] },
  "repeated cookies": { send: ["GET /header?cookie HTTP/1.1", ["Cookie: a", "Cookie: b"]], both: [200, "a; b"] },
  "an empty header": { send: ["GET /header?x-a HTTP/1.1", ["X-A:"]], both: [200, ""] },
  "blanks around a value": { send: ["GET /header?x-a HTTP/1.1", ["X-A: \t a b \t "]], both: [200, "a b"] },
  "a folded header": { send: [GET, ["X-A: 1", "  2"]], both: [400] },
  "a blank before the colon": { send: [GET, ["X-A : 1"]], both: [400] },
  "a header without a colon": { send: [GET, ["X-A"]], both: [400] },
  "NUL in a header": { send: [GET, ["X-A: a\0b"]], both: [400] },
  "CR in a header": { send: [GET, ["X-A: a\rb"]], both: [400] },
  "128 headers": { send: [GET, Array(127).fill("X-A: 1")], both: [200, "/target"] },
  "129 headers": { send: [GET, Array(128).fill("X-A: 1")], deno: [400], node: [431], because: "the same refusal" },

  "a length and chunks": { send: [POST, ["Content-Length: 3", CHUNKED], ABC], both: [400] },
  "chunks and a length": { send: [POST, [CHUNKED, "Content-Length: 3"], ABC], both: [400] },
  "two lengths": { send: [POST, ["Content-Length: 3", "Content-Length: 4"], "abcd"], both: [400] },
  "the same length twice": {
    send: [POST, ["Content-Length: 3", "Content-Length: 3"], "abc"],
    deno: [200, "abc"],
    node: [400],
    because: "RFC 9110, 8.6 allows both; the handlers reject what Deno.serve lets through",
  },
  "a list of lengths": { send: [POST, ["Content-Length: 3, 3"], "abc"], both: [400] },
  "a length with a sign": { send: [POST, ["Content-Length: +3"], "abc"], both: [400] },
  "a length of 23 digits": { send: [POST, [`Content-Length: ${"9".repeat(23)}`], "abc"], both: [400] },
  "an empty length": { send: [POST, ["Content-Length:"], "abc"], both: [400] },
  "chunks twice": { send: [POST, [CHUNKED, CHUNKED], ABC], both: [400] },
  "another coding": { send: [POST, ["Transfer-Encoding: identity"], "abc"], both: [400] },
  "a coding like chunked": { send: [POST, ["Transfer-Encoding: xchunked"], ABC], both: [400] },
  "a bad chunk size": {
    send: [POST, [CHUNKED], "xx\r\nabc\r\n0\r\n\r\n"],
    deno: "closed",
    node: [400],
    because: HEAD_FIRST,
  },
  "a huge chunk size": {
    send: [POST, [CHUNKED], `${"f".repeat(17)}\r\nabc\r\n0\r\n\r\n`],
    deno: "closed",
    node: [400],
    because: HEAD_FIRST,
  },
  "a chunk without its end": {
    send: [POST, [CHUNKED], "3\r\nabcd\r\n0\r\n\r\n"],
    deno: "closed",
    node: [400],
    because: HEAD_FIRST,
  },
};

const handler: Handler = async (request) => {
  const { method, url, headers } = request;
  const target = url.replace(/^[a-z]+:\/\/[^/]*/i, "");
  const respond = (text: string, length = text.length): Response =>
    new Response(method === "HEAD" ? null : text, { headers: { "content-length": `${length}` } });
  if (target === "/204" || target === "/304") return new Response(null, { status: Number(target.slice(1)) });
  if (target.startsWith("/header?")) return respond(headers.get(target.slice("/header?".length)) ?? "none");
  if (target !== "/echo") return respond(target, new TextEncoder().encode(target).length);
  try {
    return respond(new TextDecoder().decode(await request.bytes()));
  } catch {
    return new Response(null, { status: 400 });
  }
};

async function responseTo(
  port: number,
  { send: [line, headers = [], body = ""] }: Row,
): Promise<RawResponse | "closed"> {
  using client = await RawClient.connect(port);
  await client.send([line, "Host: h", ...headers].join("\r\n") + `\r\n\r\n${body}`);
  try {
    return await client.response(line.split(" ", 1)[0]);
  } catch {
    return "closed";
  }
}

const LISTENERS: Record<"deno" | "node", (handler: Handler) => Listener | Promise<Listener>> = {
  deno: (handler) => listen(handler, ANY_PORT),
  node: (handler) => listenNode(handler, ANY_PORT),
};

for (const [kind, start] of Object.entries(LISTENERS)) {
  Deno.test(`HTTP/1.1 over the listener "${kind}": requests and responses`, async () => {
    await using server = new TestListener(await start(handler));
    for (const [name, row] of Object.entries(ROWS)) {
      assertEquals(row.both === undefined, row.because !== undefined, `${name}: a difference has a reason`);
      const expected = row.both ?? row[kind as "deno" | "node"];
      const response = await responseTo(server.port, row);
      const isClosed = response === "closed";
      const received = isClosed ? response : [response.status, response.body].slice(0, expected?.length);
      assertEquals<unknown>(received, expected, name);
      if (!isClosed) assert(valuesOf(response, "content-length").length <= 1, name);
    }
  });
}

for (const [kind, start] of Object.entries(LISTENERS)) {
  Deno.test(`RequestInfo.completed over the listener "${kind}" resolves, with the signal aborted if the client left before`, async () => {
    const requests: { signal: AbortSignal; completed: Promise<void> }[] = [];
    using gate = new Gate();
    await using server = new TestListener(
      await start(async ({ url, signal }, { completed }) => {
        requests.push({ signal, completed });
        if (url.endsWith("/late")) await gate.opened;
        return new Response("short");
      }),
    );
    assertEquals((await ask(server.port, "GET /early")).body, "short");
    await requests[0]?.completed;
    await delay(0);
    assertEquals(requests[0]?.signal.aborted, false);
    const client = await RawClient.connect(server.port);
    await client.request("GET /late");
    await until(() => requests.length === 2, "the handler has the request");
    client.close();
    await until(() => requests[1]?.signal.aborted === true, "the listener has noticed that the client left");
    gate.open();
    await requests[1]?.completed;
  });
}

Deno.test("HTTP/1.0 over both listeners: the connection persists if the client asks and the length is known", async () => {
  for (const start of Object.values(LISTENERS)) {
    await using server = new TestListener(await start(handler));
    using client = await RawClient.connect(server.port);
    for (let count = 0; count < 2; count++) {
      await client.send("GET /target HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n");
      const response = await client.response();
      assertEquals([response.body, valuesOf(response, "connection")], ["/target", ["keep-alive"]]);
    }
    await client.send("GET /target HTTP/1.0\r\nHost: h\r\n\r\n");
    assert((await client.rest()).endsWith("/target"));
  }
});
