/**
 * Requests of `node:http` as handlers expect them.
 *
 * @module
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import { type ClientRequest, releaseMemory } from "../http.ts";

/** Converts an incoming message, with URL, headers and body as `Deno.serve` would have them. */
export function clientRequest(
  scheme: string,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  signal: AbortSignal,
): ClientRequest {
  const headers = headersOf(incoming);
  const target = incoming.url ?? "/";
  // Like `Deno.serve`, treat an empty body and the body of a GET or HEAD as none.
  const hasBody = Number(headers.get("content-length")) > 0 || headers.has("transfer-encoding");
  const body = hasBody && incoming.method !== "GET" && incoming.method !== "HEAD" ? bodyOf(incoming, outgoing) : null;
  return {
    method: incoming.method ?? "GET",
    url: urlOf(target, `${scheme}://${headers.get("host") ?? ""}`),
    headers,
    body,
    signal,
    bytes: () => new Response(body).bytes(),
  };
}

/** Joins the Host header and the request target, both unchanged. */
function urlOf(target: string, origin: string): string {
  if (/^[a-z]+:\/\//i.test(target)) return target;
  return origin + (target.startsWith("/") ? target : `/${target}`);
}

function headersOf({ rawHeaders }: IncomingMessage): Headers {
  const headers = new Headers();
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? "";
    const value = rawHeaders[index + 1] ?? "";
    const before = name.toLowerCase() === "cookie" ? headers.get(name) : null;
    // Cookie is the only header whose values are not joined by a comma (RFC 9113, 8.2.3).
    if (before !== null) headers.set(name, `${before}; ${value}`);
    else headers.append(name, value);
  }
  return headers;
}

/** Returns the body as a byte stream with backpressure. */
function bodyOf(incoming: IncomingMessage, outgoing: ServerResponse): ReadableStream<Uint8Array<ArrayBuffer>> {
  let isDone = false;
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    type: "bytes",
    start(controller): void {
      incoming.pause();
      incoming.on("data", (chunk: Uint8Array<ArrayBuffer>) => {
        if (isDone) return;
        deliver(chunk, controller as ReadableByteStreamController);
        if ((controller.desiredSize ?? 0) <= 0) incoming.pause();
      });
      incoming.once("end", () => {
        if (isDone) return;
        isDone = true;
        controller.close();
        // Completes a pending BYOB read, which `close()` does not.
        (controller as ReadableByteStreamController).byobRequest?.respond(0);
      });
      // The client disconnected, or the response ended before the request: discard the rest.
      outgoing.once("close", () => {
        if (isDone) return;
        isDone = true;
        controller.error(new Error("Request body incomplete"));
        incoming.resume();
      });
    },
    pull(): void {
      incoming.resume();
    },
    cancel(): void {
      // The upstream responded without reading all of it: discard the rest.
      isDone = true;
      incoming.resume();
    },
  }, { highWaterMark: 0 });
}

/** Copies a chunk to where it is awaited, or enqueues it. */
function deliver(chunk: Uint8Array<ArrayBuffer>, controller: ReadableByteStreamController): void {
  const { byobRequest } = controller;
  const view = byobRequest?.view;
  if (!byobRequest || !view) return controller.enqueue(chunk.slice());
  const awaited = chunk.subarray(0, view.byteLength);
  new Uint8Array(view.buffer, view.byteOffset).set(awaited);
  byobRequest.respond(awaited.length);
  if (awaited.length < chunk.length) controller.enqueue(chunk.slice(awaited.length));
  releaseMemory(chunk);
}
