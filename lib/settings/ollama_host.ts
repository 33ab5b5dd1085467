/**
 * The base URL of Ollama, and how to print one.
 *
 * @module
 */

import { splitHostPort, unmapped } from "./parse.ts";

/** Ports that `fetch` refuses to connect to (WHATWG Fetch, 2.9). */
// deno-fmt-ignore
const BAD_PORTS = new Set([
  0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
  111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540,
  548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566,
  6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
]);

/**
 * Parses `OLLAMA_HOST` by Ollama's own rules (docs/ollama-api.md 7.2) into a URL that a client can connect to. Stricter
 * on purpose: where Ollama takes its default port in place of an invalid one, that is an error here.
 *
 * @returns `undefined` if the scheme is neither `http` nor `https`, if host or port are invalid, or if there are
 * credentials.
 */
export function parseOllamaHost(text: string): URL | undefined {
  const value = text.trim().replace(/^["']+|["']+$/g, "").trim();
  const mark = value.indexOf("://");
  let scheme = mark < 0 ? "http" : value.slice(0, mark);
  let rest = mark < 0 ? value : value.slice(mark + 3);
  let defaultPort = mark < 0 ? "11434" : { http: "80", https: "443" }[scheme];
  if (value === "ollama.com") [scheme, rest, defaultPort] = ["https", "ollama.com:443", "443"];
  if (defaultPort === undefined) return undefined;

  const slash = rest.indexOf("/");
  const authority = slash < 0 ? rest : rest.slice(0, slash);
  const path = slash < 0 ? "" : rest.slice(slash);
  // Ollama would treat these as part of the name or path; they can only be mistakes.
  if (/[@\s\\]/.test(authority) || /[?#]/.test(rest)) return undefined;
  const split = splitHostPort(authority) ?? { host: unmapped(authority.replace(/^\[|\]$/g, "")), port: "" };
  const port = split.port || defaultPort;
  if (BAD_PORTS.has(Number(port))) return undefined;
  const host = split.host.includes(":") ? `[${split.host}]` : split.host;
  const url = URL.parse(`${scheme}://${host || "127.0.0.1"}:${port}${path}`) ?? undefined;
  // Unspecified addresses are for listening only; a client connects to the loopback address of the same family.
  if (url?.hostname === "0.0.0.0") url.hostname = "127.0.0.1";
  if (url?.hostname === "[::]") url.hostname = "[::1]";
  return url;
}

/** Masks what may be credentials in a text that is no valid URL: all before the last `@`, and parameters of a query. */
export function maskCredentials(text: string): string {
  return text.replace(/^(-[^=@]*=)?([^@/]*:\/\/)?.*@/s, "$1$2***@").replace(/\?.*=.*$/s, "?***");
}
