/** Errors for prompts that do not fit into the context are told from others, in all APIs. */

import { assertEquals } from "@std/assert";
import { ERROR_LIMIT_BYTES, ErrorReader } from "../../../lib/reading/error_reader.ts";
import { errorBody } from "../../fake_ollama/errors.ts";
import { bodyOf, readRecordings } from "../../fake_ollama/recordings.ts";
import { bytesOf } from "../../support/fixtures.ts";

const EXCEEDED = [
  "request (559 tokens) exceeds the available context size (256 tokens), try increasing it",
  "the prompt is longer than the context length currently available to the model",
  "the input length exceeds the context length",
];

/** What a body says that arrives in these pieces. */
function read(...pieces: (string | Uint8Array)[]): boolean {
  const reader = new ErrorReader();
  for (const piece of pieces) reader.push(typeof piece === "string" ? bytesOf(piece) : piece);
  return reader.end();
}

Deno.test("ErrorReader recognizes a prompt that exceeds the context, however the API wraps the text", () => {
  for (const text of EXCEEDED) {
    const wrapped = JSON.stringify({ error: { code: 400, message: text, type: "exceed_context_size_error" } });
    for (const family of ["native", "openai", "anthropic"] as const) {
      assertEquals([text, wrapped].map((message) => read(errorBody(family, 400, message))), [true, true], text);
      assertEquals(read(...errorBody(family, 400, wrapped)), true, "a byte at a time");
    }
  }
});

Deno.test("ErrorReader finds no exceeded context in other errors", () => {
  for (const text of ["", "{", "model is required", "max_tokens is required and must be positive", "context"]) {
    assertEquals(read(errorBody("native", 400, text)), false, text);
  }
  assertEquals(read(), false);
});

Deno.test("ErrorReader recognizes the recorded errors of both engines and no other", () => {
  const found = readRecordings().filter((recording) => recording.status === 400 && read(bodyOf(recording)));
  assertEquals(found.map(({ name }) => name), ["chat_overflow", "v0_24_chat_overflow"]);
});

Deno.test("ErrorReader reads up to its limit, and nothing beyond it", () => {
  const text = EXCEEDED[2] ?? "";
  const before = ERROR_LIMIT_BYTES - text.length;
  assertEquals([read("x".repeat(before) + text), read("x".repeat(before + 1) + text)], [true, false]);
  assertEquals([read("x".repeat(before), text, "x".repeat(99)), read("x".repeat(before + 1), text)], [true, false]);
});
