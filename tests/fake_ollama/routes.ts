/**
 * Routes of the fake Ollama and the router's own answers (docs/ollama-api.md 1): 404 and 405 with text bodies,
 * redirects for trailing and double slashes.
 */

import { type Family } from "./errors.ts";
import type { Route, RouteHandler } from "./exchange.ts";
import * as inference from "./inference.ts";
import * as models from "./models.ts";
import { type Answer, bodyAnswer } from "./plan.ts";
import type { RecordedRequest } from "./request.ts";
import * as transfers from "./transfers.ts";

type Method = Route["method"];

function ungated(method: Method, path: string, handler: RouteHandler): Route {
  return { method, path, handler, family: "native", gated: false };
}

function gated(
  method: Method,
  path: string,
  handler: RouteHandler,
  family: Family = "native",
): Route {
  return { method, path, handler, family, gated: true };
}

const ROUTES: readonly Route[] = [
  ungated("GET", "/", models.rootAnswer),
  ungated("HEAD", "/", models.rootAnswer),
  ungated("GET", "/api/version", models.version),
  ungated("HEAD", "/api/version", models.version),
  ungated("GET", "/api/status", models.status),
  ungated("GET", "/api/ps", models.ps),
  ungated("GET", "/api/tags", models.tags),
  ungated("HEAD", "/api/tags", models.tags),

  gated("POST", "/api/generate", inference.generate),
  gated("POST", "/api/chat", inference.chat),
  gated("POST", "/api/embed", inference.embed),
  gated("POST", "/api/embeddings", inference.embeddings),

  gated("POST", "/v1/chat/completions", inference.openaiChat, "openai"),
  gated("POST", "/v1/completions", inference.openaiCompletions, "openai"),
  gated("POST", "/v1/embeddings", inference.openaiEmbeddings, "openai"),
  gated("POST", "/v1/responses", inference.responses, "openai"),
  gated("POST", "/v1/audio/transcriptions", inference.transcriptions, "openai"),
  gated("POST", "/v1/messages", inference.messages, "anthropic"),
  gated("GET", "/v1/models", models.openaiModels, "openai"),
  gated("GET", "/v1/models/:model", models.openaiModelByName, "openai"),

  gated("POST", "/api/show", models.show),
  gated("POST", "/api/pull", transfers.pull),
  gated("POST", "/api/push", transfers.push),
  gated("POST", "/api/create", transfers.create),
  gated("POST", "/api/copy", models.copy),
  gated("DELETE", "/api/delete", models.remove),
  gated("HEAD", "/api/blobs/:digest", transfers.headBlob),
  gated("POST", "/api/blobs/:digest", transfers.postBlob),

  gated("POST", "/api/me", models.me),
  gated("POST", "/api/signout", models.empty),
  gated("DELETE", "/api/user/keys/:encodedKey", models.empty),
  gated("POST", "/api/experimental/web_search", models.webSearch),
  gated("POST", "/api/experimental/web_fetch", models.webFetch),
  gated("GET", "/api/experimental/model-recommendations", models.recommendations),
];

/** Routes of later releases (10). */
const ROUTES_OF_0_40: readonly Route[] = [
  ...ROUTES,
  gated("POST", "/v1/systemone", inference.systemOne, "openai"),
  gated("POST", "/v1/responses/compact", inference.systemOne, "openai"),
];

/** Result of routing. */
export type Match = { route: Route; param: string } | { answer: Answer };

/** Finds the route of a request, or the router's own answer. */
export function match(request: RecordedRequest, release: "0.33" | "0.40"): Match {
  const table = release === "0.40" ? ROUTES_OF_0_40 : ROUTES;
  const path = pathOf(request);
  for (const route of table) {
    if (route.method !== request.method) continue;
    const param = fits(route.path, path);
    if (param !== undefined) return { route, param };
  }
  const clean = path.replace(/\/{2,}/g, "/");
  if (clean !== path) return { answer: redirect(request, clean, 307) };
  if (path.endsWith("/") && path.length > 1) {
    const shorter = path.slice(0, -1);
    const exists = table.some((route) => route.method === request.method && fits(route.path, shorter) !== undefined);
    if (exists) return { answer: redirect(request, shorter, request.method === "GET" ? 301 : 307) };
  }
  const allow = allowed(request, release);
  if (allow.length === 0) return { answer: bodyAnswer(404, "text/plain", "404 page not found") };
  return { answer: bodyAnswer(405, "text/plain", "405 method not allowed", allow) };
}

/** Returns the `Allow` header of a known path, no header for other paths. */
export function allowed(
  request: RecordedRequest,
  release: "0.33" | "0.40",
): readonly (readonly [string, string])[] {
  const table = release === "0.40" ? ROUTES_OF_0_40 : ROUTES;
  const methods = table.filter(({ path }) => fits(path, pathOf(request)) !== undefined).map(({ method }) => method);
  return methods.length === 0 ? [] : [["Allow", methods.join(", ")]];
}

/** Returns the path of an origin-form or absolute-form target. */
function pathOf(request: RecordedRequest): string {
  return request.path.replace(/^[a-z]+:\/\/[^/]*/i, "") || "/";
}

/** Returns the parameter's value, "" without a parameter, if the path matches the template, otherwise `undefined`. */
function fits(template: string, path: string): string | undefined {
  const colon = template.indexOf(":");
  if (colon < 0) return template === path ? "" : undefined;
  const rest = path.startsWith(template.slice(0, colon)) ? path.slice(colon) : "";
  return rest === "" || rest.includes("/") ? undefined : rest;
}

/** Returns a redirect with a relative Location and the query. Go adds an HTML body for GET and HEAD. */
function redirect(request: RecordedRequest, path: string, status: 301 | 307): Answer {
  const query = request.query === "" ? "" : `?${request.query}`;
  const location = ["Location", path + query] as const;
  if (request.method !== "GET" && request.method !== "HEAD") {
    return bodyAnswer(status, undefined, "", [location]);
  }
  const text = status === 301 ? "Moved Permanently" : "Temporary Redirect";
  const body = `<a href="${path}${query.replaceAll("&", "&amp;")}">${text}</a>.\n\n`;
  return bodyAnswer(status, "text/html; charset=utf-8", body, [location]);
}
