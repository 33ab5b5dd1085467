/**
 * Sends a `Response` through `node:http`.
 *
 * @module
 */

import type { ServerResponse } from "node:http";

/**
 * Sends a response, with backpressure. Cancels its body if the client disconnects.
 *
 * @param disconnected Aborted when the client disconnects.
 * @throws If the body fails; the response is then incomplete.
 */
export async function sendResponse(
  response: Response,
  outgoing: ServerResponse,
  disconnected: AbortSignal,
): Promise<void> {
  const { req: request } = outgoing;
  // Connections are persistent by default in HTTP/1.1; HTTP/1.0 clients need the header.
  if (outgoing.shouldKeepAlive && request.httpVersion === "1.1") outgoing.removeHeader("connection");
  outgoing.writeHead(response.status, [...response.headers].flat());
  if (response.body === null) {
    outgoing.end();
    return;
  }
  // Sends the headers in Latin-1; `flushHeaders()` would encode them in UTF-8.
  outgoing.write("", "latin1");
  const reader = response.body.getReader();
  const cancel = (): void => void reader.cancel().catch(() => {});
  disconnected.addEventListener("abort", cancel, { once: true });
  if (disconnected.aborted) cancel();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (!outgoing.write(value) && !disconnected.aborted) await writable(outgoing);
  }
  outgoing.end();
}

/** Resolves when the write buffer has drained or the client has disconnected. */
function writable(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      outgoing.off("drain", settle);
      outgoing.off("close", settle);
      resolve();
    };
    outgoing.on("drain", settle);
    outgoing.on("close", settle);
  });
}

/** Closes the connection without ending the response, after sending what was written: the client sees an error. */
export function abortResponse(outgoing: ServerResponse): void {
  const { socket } = outgoing;
  if (socket === null || !outgoing.headersSent) outgoing.destroy();
  else socket.destroySoon();
}
