/**
 * The `health` command: asks a running exporter whether it serves, for health checks of images and units.
 *
 * @module
 */

import { request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import type { Address } from "../http.ts";
import { HEALTHY_PATH } from "./handlers.ts";

/** Options of {@linkcode askHealth}. */
export interface HealthOptions {
  /**
   * Whether the exporter speaks TLS. Default: it does not. Its certificate is not verified: it is the same machine,
   * nothing secret is sent, and its own name or issuer need not be known here.
   */
  readonly tls?: boolean;
  /** How long the exporter may take to answer, in milliseconds. Default: 5 seconds. */
  readonly timeoutMs?: number;
}

/**
 * Asks an exporter of this machine.
 *
 * @param address Where it listens; an unspecified address is asked through the loopback of its family.
 * @returns The status line of its answer.
 * @throws {Error} Where it does not answer, or not in time.
 */
export function askHealth(
  { hostname, port }: Address,
  { tls = false, timeoutMs = 5000 }: HealthOptions = {},
): Promise<string> {
  const request = (tls ? tlsRequest : plainRequest)({
    hostname: { "0.0.0.0": "127.0.0.1", "::": "::1" }[hostname] ?? hostname,
    port,
    path: HEALTHY_PATH,
    headers: { host: "localhost" },
    agent: false,
    ...tls && { rejectUnauthorized: false },
  });
  const timer = setTimeout(() => request.destroy(new Error(`No answer within ${timeoutMs} ms`)), timeoutMs);
  return new Promise<string>((resolve, reject) => {
    request.on("error", reject);
    request.on("response", (response) => {
      resolve(`HTTP/${response.httpVersion} ${response.statusCode} ${response.statusMessage}`);
      response.destroy();
    });
    request.end();
  }).finally(() => clearTimeout(timer));
}

/** Whether a status line says that the exporter serves. One that asks for a password or for patience does so too. */
export function isHealthy(statusLine: string): boolean {
  return /^\S+ (200|401|429) /.test(statusLine);
}
