/**
 * A request to each measured route, which the fake Ollama answers with success.
 *
 * @module
 */

import { type Endpoint, ENDPOINTS } from "../../lib/reading/endpoints.ts";

const MESSAGES = [{ role: "user", content: "Hello" }];

/** Bodies of requests without streaming, by route. */
const BODIES: Record<string, Record<string, unknown>> = {
  "/api/chat": { model: "llama3.2", messages: MESSAGES },
  "/api/generate": { model: "llama3.2", prompt: "Hello" },
  "/api/embed": { model: "nomic-embed-text", input: ["a", "b"] },
  "/api/embeddings": { model: "nomic-embed-text", prompt: "a" },
  "/v1/chat/completions": { model: "llama3.2", messages: MESSAGES },
  "/v1/completions": { model: "llama3.2", prompt: "Hello" },
  "/v1/embeddings": { model: "nomic-embed-text", input: "a" },
  "/v1/responses": { model: "llama3.2", input: "Hello" },
  "/v1/messages": { model: "llama3.2", messages: MESSAGES, max_tokens: 100 },
  "/api/pull": { model: "llama3.2" },
  "/api/push": { model: "llama3.2" },
  "/api/create": { model: "mine", from: "llama3.2" },
};

/** Routes that never stream. */
const UNSTREAMED = new Set(["/api/embed", "/api/embeddings", "/v1/embeddings", "/v1/audio/transcriptions"]);

/** A request, ready for `fetch`. */
export interface ApiRequest {
  readonly endpoint: Endpoint;
  readonly streamed: boolean;
  /** For test names: `/api/chat streamed`. */
  readonly name: string;
  readonly init: RequestInit;
}

/**
 * Returns a request to a route.
 *
 * @param changes Members to add to the body or to replace in it.
 */
export function apiRequest(endpoint: Endpoint, streamed: boolean, changes: Record<string, unknown> = {}): ApiRequest {
  const { route } = endpoint;
  const body = BODIES[route];
  const name = `${route} ${streamed ? "streamed" : "not streamed"}`;
  if (body !== undefined) {
    const stream = UNSTREAMED.has(route) ? {} : { stream: streamed };
    return {
      endpoint,
      streamed,
      name,
      init: { method: "POST", body: JSON.stringify({ ...body, ...stream, ...changes }) },
    };
  }
  const form = new FormData();
  form.set("model", "llama3.2");
  form.set("file", new Blob(["sound"]), "sound.wav");
  return { endpoint, streamed, name, init: { method: "POST", body: form } };
}

/** Requests to all measured routes, with and without streaming if the route can stream. */
export function apiRequests(changes: Record<string, unknown> = {}): ApiRequest[] {
  return ENDPOINTS.flatMap((endpoint) =>
    (UNSTREAMED.has(endpoint.route) ? [false] : [false, true]).map((streamed) =>
      apiRequest(endpoint, streamed, changes)
    )
  );
}
