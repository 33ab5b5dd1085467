/**
 * The bare pass-through that the exporter is measured against: what Deno can do where nothing is looked at.
 *
 *     deno run --allow-net pass.ts UPSTREAM [pooled]
 *
 * Without `pooled` each request has its own connection to the upstream, as the exporter does it for POST. Prints
 * `listening PORT`; ends when its standard input ends.
 *
 * @module
 */

import { writeLine } from "./job.ts";

const [upstream, pooled] = Deno.args;

const client = Deno.createHttpClient(
  pooled === "pooled" ? { http2: false } : { http2: false, poolMaxIdlePerHost: 0 },
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
  return new Response(response.body, { status: response.status, headers: response.headers });
});

for await (const _ of Deno.stdin.readable);
Deno.exit(0);
