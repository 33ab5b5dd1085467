import { assert, assertEquals } from "@std/assert";
import { describe, messageOf, UserError } from "../../lib/errors.ts";

Deno.test("messageOf() returns the message of an error, and any other value as text", () => {
  assertEquals(messageOf(new TypeError("no", { cause: new Error("why") })), "no");
  assertEquals([messageOf("no"), messageOf(undefined), messageOf(7)], ["no", "undefined", "7"]);
});

Deno.test("describe() joins the messages of an error and its causes, outermost first", () => {
  const refused = new Error("connection refused");
  assertEquals(describe(new Error("fetch failed", { cause: refused })), "fetch failed: connection refused");
  assertEquals(describe(new Error("fetch failed", { cause: "refused" })), "fetch failed: refused");
  assertEquals(describe("no"), "no");
});

Deno.test("describe() follows at most four causes, also in a circle", () => {
  const error = new Error("a");
  error.cause = error;
  assertEquals(describe(error), "a: a: a: a");
});

Deno.test("UserError has its own name", () => {
  const error = new UserError("LISTEN_ADDRESS: not an address");
  assert(error instanceof Error);
  assertEquals(String(error), "UserError: LISTEN_ADDRESS: not an address");
});
