/**
 * Bare proxies with which the exporter is compared, on each of its listeners.
 *
 *     deno run --allow-net bare.ts UPSTREAM pass|tap deno|node
 *
 * `pass` does not look at bodies, `tap` sends response bodies through a JavaScript stream that copies each chunk and
 * counts lines: the minimum cost of seeing them. As by the exporter, each POST has its own connection to the upstream.
 * Prints `listening PORT`; ends when its standard input ends.
 *
 * @module
 */

import { createServer } from "node:http";
import { Readable } from "node:stream";
import { exitWithInput, writeLine } from "./child.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const LF = 10;

const [upstream, mode, server] = Deno.args;
const pooled = Deno.createHttpClient({ http2: false });
const unpooled = Deno.createHttpClient({ http2: false, poolMaxIdlePerHost: 0 });
let lines = 0;

async function forward(target: string, method: string, headers: Headers, body: BodyInit | null): Promise<Response> {
  const client = method === "GET" ? pooled : unpooled;
  const response = await fetch(upstream + target, { method, headers, body, redirect: "manual", client });
  const answer = mode === "tap" && response.body !== null ? tapped(response.body) : response.body;
  return new Response(answer, { status: response.status, headers: response.headers });
}

function tapped(body: ReadableStream<Bytes>): ReadableStream<Bytes> {
  const reader = body.getReader({ mode: "byob" });
  let buffer = new ArrayBuffer(1024);
  return new ReadableStream({
    async pull(controller): Promise<void> {
      const { done, value } = await reader.read(new Uint8Array(buffer));
      if (done) return controller.close();
      for (let at = value.indexOf(LF); at >= 0; at = value.indexOf(LF, at + 1)) lines++;
      controller.enqueue(value.slice());
      buffer = value.buffer;
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
}

function serveDeno(): void {
  Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    automaticCompression: false,
    onListen: ({ port }) => writeLine(Deno.stdout, `listening ${port}`),
    onError: () => new Response(null, { status: 502 }),
  }, (request) => {
    const { pathname, search } = new URL(request.url);
    return forward(pathname + search, request.method, request.headers, request.body);
  });
}

function serveNode(): void {
  const listener = createServer(async (request, response) => {
    const headers = new Headers(request.headers as Record<string, string>);
    const { method = "GET", url = "/" } = request;
    const body = method === "GET" ? null : Readable.toWeb(request) as ReadableStream<Bytes>;
    try {
      const answer = await forward(url, method, headers, body);
      response.writeHead(answer.status, Object.fromEntries(answer.headers));
      for await (const bytes of answer.body ?? []) {
        if (!response.write(bytes)) await new Promise((resolve) => response.once("drain", resolve));
      }
      response.end();
    } catch {
      response.destroy();
    }
  });
  listener.listen(0, "127.0.0.1", 4096, () => {
    writeLine(Deno.stdout, `listening ${(listener.address() as { port: number }).port}`);
  });
}

if (server === "node") serveNode();
else serveDeno();
await exitWithInput();
