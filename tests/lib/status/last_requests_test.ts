/** The last requests, and names as they are displayed. */

import { assertEquals } from "@std/assert";
import { OUTCOMES } from "../../../lib/observation.ts";
import {
  displayedModel,
  displayName,
  isFailure,
  LAST_FAILURES,
  LAST_REQUESTS,
  LastRequests,
  NAME_LIMIT_CHARACTERS,
} from "../../../lib/status/last_requests.ts";
import { observationOf } from "../../support/fixtures.ts";

Deno.test("LastRequests keeps the last requests and the last failures, newest first", () => {
  const last = new LastRequests();
  for (let count = 1; count <= 100; count++) last.add(observationOf({ outcome: count % 2 ? "ok" : "stream_error" }));
  assertEquals(last.all.map(({ id }) => id), Array.from({ length: LAST_REQUESTS }, (_, index) => 100 - index));
  assertEquals(last.failures.map(({ id }) => id), Array.from({ length: LAST_FAILURES }, (_, index) => 100 - 2 * index));
  assertEquals([last.count, last.failed], [100, 50]);
});

Deno.test("isFailure() is false for complete responses and clients that disconnected", () => {
  assertEquals(OUTCOMES.filter((outcome) => !isFailure(outcome)), ["ok", "client_closed"]);
});

Deno.test("displayedModel() prefers the name in the response to that in the request", () => {
  const report = { model: "qwen3:8b" };
  assertEquals(displayedModel(observationOf({ requestedModel: "QWEN3:8B", report })), "qwen3:8b");
  assertEquals(displayedModel(observationOf({ requestedModel: "qwen3" })), "qwen3:latest");
  assertEquals(displayedModel(observationOf({})), undefined);
});

Deno.test("displayName() returns an invalid name as it is, shortened to the limit", () => {
  assertEquals(displayName("registry.ollama.ai/library/llama3.2"), "llama3.2:latest");
  assertEquals(displayName("<img src=x>"), "<img src=x>");
  assertEquals(displayName("<".repeat(5000)).length, NAME_LIMIT_CHARACTERS);
});
