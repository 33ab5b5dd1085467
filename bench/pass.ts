/**
 * Bare pass-through with which the exporter is compared: a Deno proxy that does not look at bodies.
 *
 *     deno run --allow-net pass.ts UPSTREAM [pooled|tapped]
 *
 * Without `pooled` each request has its own connection to the upstream, as POST requests of the exporter. With `tapped`
 * response bodies pass through a JavaScript stream that only copies each chunk: the minimum cost of seeing them. Prints
 * `listening PORT`; ends when its standard input ends.
 *
 * @module
 */

import { writeLine } from "./job.ts";

const [upstream, mode] = Deno.args;

const client = Deno.createHttpClient(
  mode === "pooled" ? { http2: false } : { http2: false, poolMaxIdlePerHost: 0 },
);

Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  automaticCompression: false,
  onListen: ({ port }) => writeLine(Deno.stdout, `listening ${port}`),
  onError: () => new Response(null, { status: 502 }),
}, async (request) => {
  const { pathname, search } = new URL(request.url);
  const { method, headers, body } = request;
  const response = await fetch(upstream + pathname + search, { method, headers, body, redirect: "manual", client });
  const answer = mode === "tapped" && response.body !== null ? tapped(response.body) : response.body;
  return new Response(answer, { status: response.status, headers: response.headers });
});

function tapped(body: ReadableStream<Uint8Array<ArrayBuffer>>): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = body.getReader({ mode: "byob" });
  let buffer = new ArrayBuffer(1024);
  return new ReadableStream({
    async pull(controller): Promise<void> {
      const { done, value } = await reader.read(new Uint8Array(buffer));
      if (done) return controller.close();
      controller.enqueue(value.slice());
      buffer = value.buffer;
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
}

for await (const _ of Deno.stdin.readable);
Deno.exit(0);
