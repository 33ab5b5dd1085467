/**
 * Ollama's routes, and how each is measured. Sections are those of docs/ollama-api.md.
 *
 * @module
 */

import type { Api, Operation } from "../observation.ts";
import {
  ANTHROPIC,
  CREATE,
  type Dialect,
  NATIVE,
  NATIVE_EMBED,
  OPENAI_CHAT,
  OPENAI_EMBEDDINGS,
  OPENAI_RESPONSES,
  TRANSFER,
  USAGE_ONLY,
} from "./dialects.ts";

/** One of Ollama's routes. */
export interface Endpoint {
  /** Path template, the value of the `route` label. */
  readonly route: string;
  /** Set for the measured inference endpoints. */
  readonly api?: Api;
  /** Set for transfers. */
  readonly operation?: Operation;
  /** How its responses are read. Absent: only bytes and times are measured. */
  readonly dialect?: Dialect;
  /** A complete response has token counts. */
  readonly hasUsage?: boolean;
  /** The request's body is JSON that names the model. */
  readonly hasJsonRequest?: boolean;
  /** The request's `options` count (2.1). */
  readonly hasOptions?: boolean;
  /** The response is a stream unless the request asks for none (2.1). Default: only if it asks for one. */
  readonly streamsByDefault?: boolean;
  /** A stream has token counts only if the request asks for them. */
  readonly asksForUsage?: boolean;
}

/** The measured routes, in the order of the table in docs/metrics.md. Only POST is measured. */
export const ENDPOINTS: readonly Endpoint[] = [
  { ...inference("/api/chat", "chat", NATIVE), hasOptions: true, streamsByDefault: true },
  { ...inference("/api/generate", "generate", NATIVE), hasOptions: true, streamsByDefault: true },
  inference("/api/embed", "embed", NATIVE_EMBED),
  { ...inference("/api/embeddings", "embeddings", NATIVE_EMBED), hasUsage: false },
  { ...inference("/v1/chat/completions", "openai_chat", OPENAI_CHAT), asksForUsage: true },
  { ...inference("/v1/completions", "openai_completions", OPENAI_CHAT), asksForUsage: true },
  inference("/v1/embeddings", "openai_embeddings", OPENAI_EMBEDDINGS),
  inference("/v1/responses", "openai_responses", OPENAI_RESPONSES),
  // Text without usage, whatever its content type (3.7): there is nothing to read.
  { route: "/v1/audio/transcriptions", api: "openai_transcriptions" },
  inference("/v1/messages", "anthropic_messages", ANTHROPIC),
  { route: "/api/pull", operation: "pull", dialect: TRANSFER },
  { route: "/api/push", operation: "push", dialect: TRANSFER },
  { route: "/api/create", operation: "create", dialect: CREATE },
];

function inference(route: string, api: Api, dialect: Dialect): Endpoint {
  return { route, api, dialect, hasUsage: true, hasJsonRequest: true };
}

/** Ollama's other routes (1). A segment that begins with a colon matches any one segment. */
const OTHER_ROUTES = [
  "/",
  "/api/version",
  "/api/status",
  "/api/ps",
  "/api/tags",
  "/api/show",
  "/api/copy",
  "/api/delete",
  "/api/blobs/:digest",
  "/api/me",
  "/api/signout",
  "/api/user/keys/:encodedKey",
  "/api/experimental/web_search",
  "/api/experimental/web_fetch",
  "/api/experimental/model-recommendations",
  "/v1/models",
  "/v1/models/:model",
] as const;

/** Every path that is not one of Ollama's. */
const OTHER: Endpoint = { route: "other" };
const OTHER_V1: Endpoint = { route: "other", dialect: USAGE_ONLY };

const MEASURED = new Map(ENDPOINTS.map((endpoint) => [endpoint.route, endpoint]));
const UNMEASURED = new Map<string, Endpoint>(
  [...MEASURED.keys(), ...OTHER_ROUTES].map((route) => [route, { route }]),
);

/**
 * The endpoint of a request.
 *
 * @param method HTTP method; only POST is measured.
 * @param path Path as it is sent upstream, percent-decoded, without base path and query.
 */
export function endpointOf(method: string, path: string): Endpoint {
  if (method === "POST") {
    const endpoint = MEASURED.get(path);
    if (endpoint !== undefined) return endpoint;
  }
  const known = UNMEASURED.get(path) ?? UNMEASURED.get(template(path));
  if (known !== undefined) return known;
  return path.startsWith("/v1/") ? OTHER_V1 : OTHER;
}

/** The path with its last segment replaced by the parameter of its template; empty where there is none. */
function template(path: string): string {
  const cut = path.lastIndexOf("/") + 1;
  if (cut === path.length) return "";
  switch (path.slice(0, cut)) {
    case "/api/blobs/":
      return "/api/blobs/:digest";
    case "/v1/models/":
      return "/v1/models/:model";
    case "/api/user/keys/":
      return "/api/user/keys/:encodedKey";
    default:
      return "";
  }
}
