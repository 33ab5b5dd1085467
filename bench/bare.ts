/**
 * Bare proxies with which the exporter is compared, on each of its listeners.
 *
 *     deno run --allow-net bare.ts UPSTREAM pass|tap|least deno|node
 *
 * `pass` does not look at bodies, `tap` sends response bodies through a JavaScript stream that copies each chunk and
 * counts lines: the minimum cost of seeing them. `least` is the least exporter, a tap that also reads the model of each
 * request and the last message of each response, and counts them: the minimum cost of a request. As by the exporter,
 * each POST has its own connection to the upstream. Prints `listening PORT`; ends when its standard input ends.
 *
 * @module
 */

import { createServer } from "node:http";
import { Readable } from "node:stream";
import { Counter, Histogram } from "../lib/metrics/prom_client.ts";
import { createFraming } from "../lib/reading/framing.ts";
import { exitWithInput, writeLine } from "./child.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const LF = 10;

const [upstream, mode, server] = Deno.args;
const pooled = Deno.createHttpClient({ http2: false });
const unpooled = Deno.createHttpClient({ http2: false, poolMaxIdlePerHost: 0 });
let lines = 0;

const framing = createFraming("ndjson");
const labelNames = ["endpoint", "model"];
const requests = new Counter({ name: "requests_total", help: "Requests.", labelNames: [...labelNames, "status"] });
const promptTokens = new Counter({ name: "prompt_tokens_total", help: "Prompt tokens.", labelNames });
const outputTokens = new Counter({ name: "output_tokens_total", help: "Generated tokens.", labelNames });
const duration = new Histogram({ name: "request_duration_seconds", help: "Duration.", labelNames });
const firstToken = new Histogram({ name: "time_to_first_token_seconds", help: "Time to first token.", labelNames });

async function forward(
  target: string,
  { method, headers, body, signal }: Pick<Request, "method" | "headers" | "body" | "signal">,
): Promise<Response> {
  const arrivedAt = performance.now();
  const isCounted = mode === "least" && body !== null;
  const sent = isCounted ? await new Response(body).bytes() : body;
  const response = await fetch(upstream + target, {
    method,
    headers,
    body: sent,
    redirect: "manual",
    client: method === "GET" ? pooled : unpooled,
    ...mode === "least" && { signal },
  });
  const end = (last: Bytes, firstAt: number): void => {
    if (isCounted) observe(target, sent as Bytes, response.status, { last, firstAt, arrivedAt });
  };
  const answer = mode === "pass" || response.body === null ? response.body : tapped(response.body, end);
  return new Response(answer, { status: response.status, headers: response.headers });
}

/** @param onEnd Called with the last chunk, and when the first one came. */
function tapped(body: ReadableStream<Bytes>, onEnd: (last: Bytes, firstAt: number) => void): ReadableStream<Bytes> {
  const reader = body.getReader({ mode: "byob" });
  let buffer = new ArrayBuffer(1024);
  let last: Bytes = new Uint8Array();
  let firstAt = 0;
  return new ReadableStream({
    async pull(controller): Promise<void> {
      const { done, value } = await reader.read(new Uint8Array(buffer));
      if (done) {
        controller.close();
        return onEnd(last, firstAt);
      }
      firstAt ||= performance.now();
      for (let at = value.indexOf(LF); at >= 0; at = value.indexOf(LF, at + 1)) lines++;
      controller.enqueue(last = value.slice());
      buffer = value.buffer;
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
}

interface Answered {
  /** The end of the response's body, which has its last message. */
  readonly last: Bytes;
  readonly firstAt: number;
  readonly arrivedAt: number;
}

async function observe(endpoint: string, request: Bytes, status: number, answered: Answered): Promise<void> {
  const { model } = JSON.parse(new TextDecoder().decode(request));
  const messages = await framing.split(new TextDecoder().decode(answered.last));
  const { prompt_eval_count = 0, eval_count = 0 } = JSON.parse(messages.at(-1) ?? "{}");
  requests.inc({ endpoint, model, status });
  promptTokens.inc({ endpoint, model }, prompt_eval_count);
  outputTokens.inc({ endpoint, model }, eval_count);
  duration.observe({ endpoint, model }, (performance.now() - answered.arrivedAt) / 1000);
  firstToken.observe({ endpoint, model }, (answered.firstAt - answered.arrivedAt) / 1000);
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
    return forward(pathname + search, request);
  });
}

function serveNode(): void {
  const listener = createServer(async (request, response) => {
    const headers = new Headers(request.headers as Record<string, string>);
    const { method = "GET", url = "/" } = request;
    const body = method === "GET" ? null : Readable.toWeb(request) as ReadableStream<Bytes>;
    const disconnected = new AbortController();
    response.once("close", () => disconnected.abort());
    try {
      const answer = await forward(url, { method, headers, body, signal: disconnected.signal });
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
