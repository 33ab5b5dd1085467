/**
 * The `health` command: checks a running exporter, for health checks of containers and units.
 *
 * @module
 */

import { request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import type { Address } from "../http.ts";
import { HEALTHY_PATH } from "./paths.ts";

/** Options of {@linkcode requestHealth}. */
interface HealthOptions {
  /**
   * Whether the exporter uses TLS. Default: false. The certificate is not verified: the connection does not leave the
   * machine, carries no secrets, and the certificate need not be issued for a local name.
   */
  readonly tls?: boolean;
  /** Timeout of the request, in milliseconds. Default: 5000. */
  readonly timeoutMs?: number;
}

/**
 * Requests the liveness endpoint of an exporter on this machine.
 *
 * @param address Its listen address; for an unspecified address, connects to the loopback address of the same family.
 * @returns The status line of the response.
 * @throws {Error} If there is no response within the timeout.
 */
export function requestHealth(
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
  const timer = setTimeout(() => request.destroy(new Error(`No response within ${timeoutMs} ms`)), timeoutMs);
  return new Promise<string>((resolve, reject) => {
    request.on("error", reject);
    request.on("response", (response) => {
      resolve(`HTTP/${response.httpVersion} ${response.statusCode} ${response.statusMessage}`);
      response.destroy();
    });
    request.end();
  }).finally(() => clearTimeout(timer));
}

/** Reports whether a status line is that of a healthy exporter: also if it requires a password or limits the rate. */
export function isHealthy(statusLine: string): boolean {
  return /^\S+ (200|401|429) /.test(statusLine);
}
