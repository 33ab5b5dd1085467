/**
 * Protection from web pages that reach for a server on the user's own network (DNS rebinding).
 *
 * Ollama refuses foreign Host names when it listens on loopback (section 5.1 of its API). A proxy in front of it sends
 * its own Host, so that the check has to be made here. Programs that are no browsers are never affected.
 *
 * @module
 */

/** Only browsers send these, and a page cannot take them out. */
const BROWSER_HEADERS = ["origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-user"];

/** Top-level names that no public DNS answers for. */
const LOCAL_DOMAINS = [".localhost", ".local", ".internal"];

/**
 * Whether a request may be answered.
 *
 * @param allowedHosts Further names in lower case; `*.example.com` stands for every name under `example.com`.
 */
export function isAllowed(headers: Headers, allowedHosts: readonly string[]): boolean {
  if (!BROWSER_HEADERS.some((name) => headers.has(name))) return true;
  const host = (headers.get("host") ?? "").toLowerCase().replace(/:\d*$/, "").replace(/\.$/, "");
  // A name without a dot is resolved on the own network, an address is not resolved at all.
  if (!host.includes(".") || /^\[[\da-f:.]+\]$/.test(host) || /^\d+(\.\d+){3}$/.test(host)) return true;
  if (LOCAL_DOMAINS.some((domain) => host.endsWith(domain))) return true;
  return allowedHosts.some((allowed) => allowed.startsWith("*.") ? host.endsWith(allowed.slice(1)) : host === allowed);
}
