/**
 * Guards in front of the routes: the Origin check, then the Host check
 * (docs/ollama-api.md 5.1, 5.2).
 */

import type { FakeBehaviour } from "./behaviour.ts";
import { type Answer, bodyAnswer } from "./plan.ts";
import type { RecordedRequest } from "./request.ts";

const MAX_AGE_SECONDS = 43200;
const LOCAL_ORIGIN = /^https?:\/\/(localhost|127\.0\.0\.1|0\.0\.0\.0)(:\d+)?$/;
const APP_ORIGIN = /^(app|file|tauri|vscode-webview|vscode-file):\/\//;
const LOCAL_NAME = /(^localhost$|\.(localhost|local|internal)$)/i;
const METHODS = "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS";
const HEADERS = "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta," +
  "X-Stainless-Arch,X-Stainless-Async,X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,X-Stainless-Lang," +
  "X-Stainless-Os,X-Stainless-Package-Version,X-Stainless-Poll-Helper,X-Stainless-Retry-Count,X-Stainless-Runtime," +
  "X-Stainless-Runtime-Version,X-Stainless-Timeout";

/** Result of the guards: an answer that replaces the route's, or headers to add to it. */
export interface Verdict {
  answer?: Answer;
  headers: readonly (readonly [string, string])[];
}

/** Applies the checks that the behaviour enables. */
export function guard(request: RecordedRequest, behaviour: FakeBehaviour): Verdict {
  const origin = request.header("origin");
  const host = request.header("host") ?? "";
  const headers: (readonly [string, string])[] = [];
  const foreign = origin !== undefined && origin !== "" && origin !== `http://${host}` &&
    origin !== `https://${host}`;
  if (foreign && behaviour.originCheck) {
    if (!originAllowed(origin, behaviour.origins)) return { answer: refusal(), headers };
    const all = behaviour.origins.includes("*");
    headers.push(["Access-Control-Allow-Origin", all ? "*" : origin]);
    if (request.method === "OPTIONS") return { answer: preflight(headers), headers: [] };
    if (!all) headers.push(["Vary", "Origin"]);
  }
  if (!behaviour.hostCheck) return { headers };
  const name = withoutPort(host);
  if (LOCAL_NAME.test(name)) {
    if (request.method !== "OPTIONS") return { headers };
    return { answer: bodyAnswer(204, undefined, ""), headers };
  }
  return name === "" || isLocalAddress(name) ? { headers } : { answer: refusal(), headers };
}

function refusal(): Answer {
  return bodyAnswer(403, undefined, "");
}

function preflight(headers: readonly (readonly [string, string])[]): Answer {
  return bodyAnswer(204, undefined, "", [
    ["Access-Control-Allow-Headers", HEADERS],
    ["Access-Control-Allow-Methods", METHODS],
    ...headers,
    ["Access-Control-Max-Age", String(MAX_AGE_SECONDS)],
    ["Vary", "Origin"],
    ["Vary", "Access-Control-Request-Method"],
    ["Vary", "Access-Control-Request-Headers"],
  ]);
}

function originAllowed(origin: string, extra: readonly string[]): boolean {
  if (LOCAL_ORIGIN.test(origin) || APP_ORIGIN.test(origin)) return true;
  return extra.some((entry) => {
    const star = entry.indexOf("*");
    if (star < 0) return entry.trim().toLowerCase() === origin;
    const [head, tail] = [entry.slice(0, star), entry.slice(star + 1)];
    return origin.length >= head.length + tail.length && origin.startsWith(head) &&
      origin.endsWith(tail);
  });
}

/** Returns the name or address in a Host header: "[::1]:9000" gives "::1". */
function withoutPort(host: string): string {
  const bracketed = /^\[([^\]]*)\](:\d*)?$/.exec(host);
  if (bracketed !== null) return bracketed[1] ?? "";
  return host.replace(/^([^:]*):\d*$/, "$1");
}

/** Returns whether an address is loopback, private or unspecified. */
function isLocalAddress(name: string): boolean {
  if (/^(127\.|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.)(\d{1,3}\.){0,2}\d{1,3}$/.test(name)) {
    return true;
  }
  return name === "0.0.0.0" || name === "::" || name === "::1" || /^f[cd][0-9a-f]{2}:/i.test(name);
}
