import { assertEquals } from "@std/assert";
import { textResponse } from "../../../lib/web/text_response.ts";

Deno.test("textResponse() returns plain text with a line feed, and additional headers", async () => {
  const response = textResponse(405, "Method not allowed", { allow: "GET" });
  assertEquals([response.status, await response.text()], [405, "Method not allowed\n"]);
  assertEquals(Object.fromEntries(response.headers), {
    "allow": "GET",
    "content-type": "text/plain; charset=utf-8",
    "x-content-type-options": "nosniff",
  });
});
