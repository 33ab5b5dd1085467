/**
 * Paths of requests and of admin endpoints.
 *
 * @module
 */

/** Liveness endpoint: healthy as long as the process serves. */
export const HEALTHY_PATH = "/-/healthy";
/** Readiness endpoint: ready while Ollama is reachable. */
export const READY_PATH = "/-/ready";

/** Returns the host and port of an absolute URL as received; empty if it has none. */
export function authorityOf(url: string): string {
  return /^[^:]+:\/\/([^/?#]*)/.exec(url)?.[1] ?? "";
}

/** Returns the path of an absolute URL as received, neither decoded nor resolved, without the query. */
export function pathOf(url: string): string {
  return /^[^:]+:\/\/[^/?#]*([^?#]*)/.exec(url)?.[1] || "/";
}
