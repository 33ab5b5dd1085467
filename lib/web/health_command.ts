/**
 * The `health` command: checks a running exporter, for health checks of containers and units.
 *
 * @module
 */

import { connect as connectPlain, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Address } from "../http.ts";
import { HEALTHY_PATH } from "./paths.ts";

/** Default maximum time until the status line of the response, in milliseconds. */
const HEALTH_TIMEOUT_MS = 5000;
/** Maximum length of a status line, in characters. */
const LINE_LIMIT_CHARACTERS = 1024;

const REQUEST = `GET ${HEALTHY_PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
const STATUS_LINE = /^HTTP\/1\.[01] \d{3} [^\r\n]*(?=\r\n)/;

/**
 * Requests the liveness endpoint of an exporter on this machine, over plain HTTP, and over TLS if that has no response:
 * the web config file on disk need not be the one in use.
 *
 * The certificate is not verified: the connection does not leave the machine and carries no secrets, and the
 * certificate need not be issued for a local name. `fetch` would verify it, and `node:https` reads all certificates of
 * the system if NODE_EXTRA_CA_CERTS is set (Deno 2.9.6), for which the program has no permission.
 *
 * @param address Its listen address; for an unspecified one, which includes IPv4, connects to 127.0.0.1.
 * @returns The status line of the response.
 * @throws {Error} If there is no response within the timeout. The error is that of plain HTTP.
 */
export async function requestHealth(
  { hostname, port }: Address,
  timeoutMs = HEALTH_TIMEOUT_MS,
): Promise<string> {
  const options = { host: { "0.0.0.0": "127.0.0.1", "::": "127.0.0.1" }[hostname] ?? hostname, port };
  const deadline = performance.now() + timeoutMs;
  try {
    return await statusLine(connectPlain(options), timeoutMs);
  } catch (error) {
    try {
      return await statusLine(connectTls({ ...options, rejectUnauthorized: false }), deadline - performance.now());
    } catch {
      throw error;
    }
  }
}

/** Sends the request and returns the status line of the response. Closes the connection. */
function statusLine(socket: Socket, timeoutMs: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const timer = setTimeout(() => reject(new Error(`No response within ${timeoutMs} ms`)), timeoutMs);
  let text = "";
  socket.setEncoding("latin1");
  socket.on("data", (chunk: string) => {
    text += chunk;
    const [line] = STATUS_LINE.exec(text) ?? [];
    if (line !== undefined) resolve(line);
    else if (text.includes("\n") || text.length > LINE_LIMIT_CHARACTERS) socket.destroy();
  });
  socket.on("error", reject);
  socket.on("close", () => reject(new Error("Not an HTTP response")));
  socket.write(REQUEST);
  return promise.finally(() => {
    clearTimeout(timer);
    socket.destroy();
  });
}

/** Reports whether a status line is that of a healthy exporter: also if it requires a password or limits the rate. */
export function isHealthy(statusLine: string): boolean {
  return /^\S+ (200|401|429) /.test(statusLine);
}
