/**
 * Protection against DNS rebinding: web pages that reach servers on the user's own network by a name of their own.
 *
 * Ollama rejects foreign Host names if it listens on loopback (docs/ollama-api.md 5.1). As a proxy sends a Host of its
 * own, the check has to be made here.
 *
 * @module
 */

/** Names under these top-level domains are not delegated in public DNS. */
const LOCAL_DOMAINS = [".localhost", ".local", ".internal", ".lan", ".home.arpa", ".svc"];

/** Which hosts a listener accepts. */
export interface HostRules {
  /**
   * Whether only this machine reaches the listener. If so, no client has a reason to use a foreign name, and hosts are
   * checked for every request, as Ollama does; otherwise for browsers only, since names are the operator's business.
   */
  readonly isLoopback: boolean;
  /** Names besides addresses and local names, in lower case; `*.example.com` matches every name under `example.com`. */
  readonly allowedHosts: readonly string[];
}

/**
 * Reports whether a request may be handled, by the host that it is for.
 *
 * @param host Host and port as received; empty where the client sent none (HTTP/1.0), which is accepted, as by Ollama.
 */
export function isAllowed(host: string, headers: Headers, { isLoopback, allowedHosts }: HostRules): boolean {
  if (!isLoopback && !isBrowser(headers)) return true;
  const name = host.toLowerCase().replace(/:\d*$/, "").replace(/\.$/, "");
  // Names without a dot are resolved on the local network only, addresses not at all.
  if (!name.includes(".") || /^\[[\da-f:.]+\]$/.test(name) || /^\d+(\.\d+){3}$/.test(name)) return true;
  if (LOCAL_DOMAINS.some((domain) => name.endsWith(domain))) return true;
  return allowedHosts.some((allowed) => allowed.startsWith("*.") ? name.endsWith(allowed.slice(1)) : name === allowed);
}

/**
 * Reports whether a web page may have caused a request.
 *
 * Over plain HTTP browsers send neither `Origin` nor `Sec-Fetch-*` with a page's own GET and HEAD requests (Fetch, 3.2;
 * Fetch Metadata, 2), so their other headers have to do. `Sec-Fetch-Mode` is no sign: Node's `fetch` sends it.
 */
function isBrowser(headers: Headers): boolean {
  const origin = headers.get("origin");
  // Desktop programs and extensions have schemes of their own, which no page can forge. Ollama judges them.
  if (origin !== null && /^(?!https?:)[a-z][a-z\d+.-]*:\/\//i.test(origin)) return false;
  if (origin !== null || headers.has("sec-fetch-site") || headers.has("referer")) return true;
  // Programs send one of the two: PowerShell the first, others the second. Browsers send both.
  return headers.has("accept-language") && headers.get("user-agent")?.startsWith("Mozilla/") === true;
}
