/**
 * Upstream of the bench: the part of Ollama that the loads need, on raw TCP to avoid being the bottleneck.
 *
 *     deno run --allow-net --unstable-net upstream.ts PORT
 *
 * Prints `listening PORT`; exits when its standard input ends. Several processes can share a port.
 *
 * @module
 */

import { BulkCheck, bulkOf, chunks, patternOf, pieces } from "./bulk.ts";
import { exitWithInput, sharedNow, writeLine } from "./child.ts";
import * as payloads from "./payloads.ts";
import { Wire } from "./wire.ts";

/** Approximate size of a write of a stream that is not paced: eight tokens. */
const BURST_BYTES = 1024;

/** Number of models in `/api/ps` and `/api/tags`. */
const MODELS = 100;

const ANSWERS: Readonly<Record<string, string>> = {
  "/api/version": payloads.responseOf(payloads.VERSION_BODY),
  "/api/ps": payloads.responseOf(payloads.modelsBody("/api/ps", MODELS)),
  "/api/tags": payloads.responseOf(payloads.modelsBody("/api/tags", MODELS)),
};

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Fields read from a request body. */
interface Body {
  readonly model: string;
  /** Default: `true`. */
  readonly stream?: boolean;
  readonly options?: payloads.Wanted;
  readonly stream_options?: { readonly include_usage?: boolean };
}

/** Handles the requests of one connection, one at a time. */
async function serve(wire: Wire): Promise<void> {
  try {
    for (let head = await wire.head(); head !== undefined; head = await wire.head()) await answer(wire, head);
  } catch {
    // The client has disconnected.
  }
  wire.close();
}

async function answer(wire: Wire, head: string): Promise<void> {
  const [, target = "/"] = head.split(" ", 2);
  const { pathname, searchParams } = new URL(target, "http://127.0.0.1");
  const dialect = (Object.keys(payloads.PATHS) as payloads.Dialect[]).find((name) => payloads.PATHS[name] === pathname);
  if (dialect !== undefined) {
    let text = "";
    await readBody(wire, head, (bytes) => text += decoder.decode(bytes));
    return await generate(wire, dialect, JSON.parse(text));
  }
  const checked = searchParams.get("check");
  const check = new BulkCheck(patternOf(Number(checked)));
  await readBody(wire, head, checked === null ? () => {} : (bytes) => check.push(bytes));
  if (pathname.startsWith("/api/blobs/")) {
    return await send(wire, payloads.responseOf(payloads.checkedBody(check.lost)));
  }
  const bytes = Number(searchParams.get("bytes"));
  if (pathname !== "/bench/download") return await send(wire, ANSWERS[pathname] ?? payloads.responseOf("", 404));
  await send(wire, payloads.responseHead("application/octet-stream", bytes));
  await wire.write(pieces(patternOf(bytes)));
}

async function readBody(wire: Wire, head: string, take: (bytes: Uint8Array) => void): Promise<void> {
  wire.beginBody(head, take);
  while (!wire.isDone) await wire.more();
}

async function send(wire: Wire, text: string): Promise<void> {
  await wire.write([encoder.encode(text)]);
}

async function generate(wire: Wire, dialect: payloads.Dialect, body: Body): Promise<void> {
  const { model, stream = true, options = {} } = body;
  const { num_predict: tokens = 1, token_bytes, pace_ms, status, fails } = options;
  const shape = { dialect, model, tokens, usage: body.stream_options?.include_usage === true, fails };
  if (status !== undefined) return await send(wire, payloads.responseOf(payloads.ERROR_BODY, status));
  if (!stream) return await send(wire, payloads.responseOf(payloads.wholeBody(shape)));
  if (pace_ms !== undefined) return await paced(wire, shape, options.stamped === true, pace_ms);
  if (token_bytes !== undefined) {
    await send(wire, payloads.streamHead(dialect));
    return await wire.write(chunks(payloads.streamBody(shape, token_bytes)));
  }
  const { head, token, tail } = payloads.streamChunks(shape);
  const pieceBytes = tokens > BURST_BYTES ? undefined : BURST_BYTES;
  await wire.write(pieces([...bulkOf(head), ...bulkOf(token, tokens), ...bulkOf(tail)], pieceBytes));
}

/**
 * Sends a stream at the pace of a model: the first token at once with the head, as Go's server does, the others when
 * they are due. A delayed stream catches up, since its schedule is fixed.
 */
async function paced(wire: Wire, shape: payloads.Shape, isStamped: boolean, paceMs: number): Promise<void> {
  const { head, token, tail } = payloads.streamChunks(shape);
  const startedAt = performance.now();
  for (let number = 0; number <= shape.tokens; number++) {
    const waitMs = startedAt + number * paceMs - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    // The end of a stream is due with the token after the last, which makes the model stop.
    const text = number === shape.tokens ? tail : number === 0 ? head + token : token;
    const bytes = encoder.encode(text);
    const stampAt = text.lastIndexOf(payloads.STAMP_MARK) + 1;
    if (isStamped && stampAt > 0) encoder.encodeInto(sharedMicroseconds(), bytes.subarray(stampAt));
    await wire.write([bytes]);
  }
}

/** Returns the digits of a time stamp. */
function sharedMicroseconds(): string {
  return Math.round(sharedNow() * 1000).toFixed();
}

const listener = Deno.listen({ hostname: "127.0.0.1", port: Number(Deno.args[0] ?? 0), reusePort: true });
writeLine(Deno.stdout, `listening ${listener.addr.port}`);
exitWithInput();
for await (const conn of listener) serve(new Wire(conn));
