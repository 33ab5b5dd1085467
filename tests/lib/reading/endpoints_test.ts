/** Which endpoint a request is for. */

import { assert, assertEquals } from "@std/assert";
import type { Api, Operation } from "../../../lib/observation.ts";
import { type Endpoint, endpointOf, ENDPOINTS } from "../../../lib/reading/endpoints.ts";

/** Every measured route of docs/ollama-api.md 1: how it is named, and whether its answers have token counts. */
const MEASURED: [path: string, api: Api, usage: boolean][] = [
  ["/api/chat", "chat", true],
  ["/api/generate", "generate", true],
  ["/api/embed", "embed", true],
  ["/api/embeddings", "embeddings", false],
  ["/v1/chat/completions", "openai_chat", true],
  ["/v1/completions", "openai_completions", true],
  ["/v1/embeddings", "openai_embeddings", true],
  ["/v1/responses", "openai_responses", true],
  ["/v1/audio/transcriptions", "openai_transcriptions", false],
  ["/v1/messages", "anthropic_messages", true],
];
const TRANSFERS: Operation[] = ["pull", "push", "create"];

/** The other routes of docs/ollama-api.md 1, and paths that have parameters. */
const UNMEASURED: [path: string, route: string][] = [
  ["/", "/"],
  ["/api/version", "/api/version"],
  ["/api/status", "/api/status"],
  ["/api/ps", "/api/ps"],
  ["/api/tags", "/api/tags"],
  ["/api/show", "/api/show"],
  ["/api/copy", "/api/copy"],
  ["/api/delete", "/api/delete"],
  ["/api/me", "/api/me"],
  ["/api/signout", "/api/signout"],
  ["/api/experimental/web_search", "/api/experimental/web_search"],
  ["/api/experimental/web_fetch", "/api/experimental/web_fetch"],
  ["/api/experimental/model-recommendations", "/api/experimental/model-recommendations"],
  ["/v1/models", "/v1/models"],
  ["/v1/models/llama3.2:latest", "/v1/models/:model"],
  ["/v1/models/hf.co%2Fu%2Frepo", "/v1/models/:model"],
  ["/v1/models/:model", "/v1/models/:model"],
  ["/api/blobs/sha256:0123", "/api/blobs/:digest"],
  ["/api/blobs/chat", "/api/blobs/:digest"],
  ["/api/user/keys/c3NoLWVk", "/api/user/keys/:encodedKey"],
];

/** Paths that are none of Ollama's, or not those of its routes by the letter. */
const UNKNOWN = [
  "",
  "*",
  "/*",
  "/other",
  "/metrics",
  "/api",
  "/api/",
  "/api/chat/",
  "/api/chat/x",
  "//api/chat",
  "/api//chat",
  "/API/chat",
  "/api/chat%2F",
  "/api/./chat",
  "/api/../api/chat",
  "/api/blobs",
  "/api/blobs/",
  "/api/blobs/a/b",
  "/api/blobs//",
  "/api/user/keys/",
  "/api/user/keys/a/b",
  "/v1",
  "/v10/models",
  "/x/v1/models/m",
  "/api/chat\n",
  "/constructor",
  "/__proto__",
  `/${"a".repeat(100_000)}`,
];

const METHODS = ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "post", "Post", "PROPFIND", ""];

Deno.test("endpointOf() measures a POST to each measured route, and nothing else", () => {
  const seen: Endpoint[] = [];
  for (const [path, api, usage] of MEASURED) {
    const endpoint = endpointOf("POST", path);
    assertEquals([endpoint.route, endpoint.api, endpoint.hasUsage ?? false], [path, api, usage]);
    const isText = api === "openai_transcriptions";
    assertEquals([endpoint.dialect === undefined, endpoint.hasJsonRequest !== true], [isText, isText], path);
    const needsAsking = api === "openai_chat" || api === "openai_completions";
    assertEquals(endpoint.asksForUsage ?? false, needsAsking, path);
    const isNative = api === "chat" || api === "generate";
    assertEquals([endpoint.hasOptions ?? false, endpoint.streamsByDefault ?? false], [isNative, isNative], path);
    seen.push(endpoint);
  }
  for (const operation of TRANSFERS) {
    const endpoint = endpointOf("POST", `/api/${operation}`);
    assertEquals([endpoint.route, endpoint.operation, endpoint.api], [`/api/${operation}`, operation, undefined]);
    seen.push(endpoint);
  }
  assertEquals(seen, ENDPOINTS, "these are all of them, in their order");
});

Deno.test("endpointOf() finds a measured route by its path for any method, but measures POST only", () => {
  for (const { route } of ENDPOINTS) {
    for (const method of METHODS) assertEquals(endpointOf(method, route), { route }, `${method} ${route}`);
  }
});

Deno.test("endpointOf() returns the template of every other route of Ollama, for any method", () => {
  for (const [path, route] of UNMEASURED) {
    for (const method of ["POST", ...METHODS]) assertEquals(endpointOf(method, path), { route }, `${method} ${path}`);
  }
});

Deno.test("endpointOf() returns one route for every path that is not Ollama's", () => {
  for (const path of UNKNOWN) {
    for (const method of ["POST", ...METHODS]) {
      assertEquals(endpointOf(method, path), { route: "other" }, `${method} ${path.slice(0, 50)}`);
    }
  }
});

Deno.test("endpointOf() reads only usage from unknown paths under /v1/", () => {
  for (
    const path of ["/v1/", "/v1/systemone", "/v1/responses/compact", "/v1/messages/", "/v1/models/a/b", "/v1/models/"]
  ) {
    const endpoint = endpointOf("POST", path);
    const { dialect, ...rest } = endpoint;
    assertEquals(rest, { route: "other" }, path);
    assert(dialect !== undefined, path);
  }
});
