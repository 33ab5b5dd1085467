import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { describe, fileErrorOf, messageOf, Problems, UserError } from "../../lib/errors.ts";

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

Deno.test("fileErrorOf() leaves out what is Deno's: numbers of errors, operations, paths and flags", () => {
  const reason = (open: () => void): string => fileErrorOf(assertThrows(open));
  assertEquals(reason(() => Deno.statSync("/nowhere/a: b")), "No such file or directory");
  assertEquals(reason(() => Deno.openSync(`${import.meta.filename}/x`)), "Not a directory");
  assertEquals(
    fileErrorOf(new Deno.errors.PermissionDenied("Permission denied (os error 13): open 'x'")),
    "Permission denied",
  );
  const advice = 'Requires write access to "/x", run again with the --allow-write flag';
  assertEquals(fileErrorOf(new Deno.errors.NotCapable(advice)), "Outside the permissions of the exporter");
  assertEquals(fileErrorOf(new Error("Not valid UTF-8")), "Not valid UTF-8");
});

Deno.test("Problems.collect() returns results, and keeps the lines of user errors with a name before each", async () => {
  const problems = new Problems(["LOG_LEVEL: no"]);
  assertEquals(await problems.collect("A", Promise.resolve(7)), 7);
  assertEquals(await problems.collect("A", Promise.reject(new UserError("one\ntwo"))), undefined);
  assertEquals(await problems.collect("B", Promise.reject(new UserError("three"))), undefined);
  problems.add("C: four");
  const { message } = assertThrows(() => problems.end(), UserError);
  assertEquals(message.split("\n"), ["LOG_LEVEL: no", "A: one", "A: two", "B: three", "C: four"]);
  new Problems([]).end();
});

Deno.test("Problems.collect() rejects with any other error", async () => {
  await assertRejects(() => new Problems([]).collect("A", Promise.reject(new TypeError("bug"))), TypeError, "bug");
});
