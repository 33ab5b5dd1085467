/**
 * Protection against DNS rebinding: web pages that reach servers on the user's own network.
 *
 * Ollama rejects foreign Host names if it listens on loopback (docs/ollama-api.md 5.1). As a proxy sends a Host of its
 * own, the check has to be made here. Clients other than browsers are not affected.
 *
 * @module
 */

/** Headers that only browsers send and that pages cannot remove. */
const BROWSER_HEADERS = ["origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-user"];

/** Top-level domains that public DNS does not resolve. */
const LOCAL_DOMAINS = [".localhost", ".local", ".internal"];

/**
 * Reports whether a request may be handled, by its Host header.
 *
 * @param allowedHosts Additional names in lower case; `*.example.com` matches every name under `example.com`.
 */
export function isAllowed(headers: Headers, allowedHosts: readonly string[]): boolean {
  if (!BROWSER_HEADERS.some((name) => headers.has(name))) return true;
  const host = (headers.get("host") ?? "").toLowerCase().replace(/:\d*$/, "").replace(/\.$/, "");
  // Names without a dot are resolved on the local network only, addresses not at all.
  if (!host.includes(".") || /^\[[\da-f:.]+\]$/.test(host) || /^\d+(\.\d+){3}$/.test(host)) return true;
  if (LOCAL_DOMAINS.some((domain) => host.endsWith(domain))) return true;
  return allowedHosts.some((allowed) => allowed.startsWith("*.") ? host.endsWith(allowed.slice(1)) : host === allowed);
}
