import { assertEquals } from "@std/assert";
import { Signals, signalsOf } from "../../../lib/listen/signals.ts";

/** Signals, and when they arrive, in milliseconds. */
type Course = [signal: Deno.Signal, atMs: number][];

/** What each signal asks for. */
function actions(course: Course, options: Partial<ConstructorParameters<typeof Signals>[0]> = {}): unknown[] {
  const signals = new Signals({ os: "linux", hasTerminal: false, ...options });
  return course.map(([signal, atMs]) => signals.receive(signal, atMs));
}

const STOPS: Record<string, [course: Course, expected: unknown[]]> = {
  "one signal": [[["SIGTERM", 5000]], ["stop"]],
  "SIGINT that arrives twice": [[["SIGINT", 5000], ["SIGINT", 5002]], ["stop", undefined]],
  "SIGINT that arrives twice, and again": [
    [["SIGINT", 5000], ["SIGINT", 5002], ["SIGINT", 7000], ["SIGINT", 7002]],
    ["stop", undefined, "exit", "exit"],
  ],
  "SIGTERM twice within a second": [[["SIGTERM", 5000], ["SIGTERM", 5999]], ["stop", undefined]],
  "SIGTERM twice, a second apart": [[["SIGTERM", 5000], ["SIGTERM", 6000]], ["stop", "exit"]],
  "SIGINT, then SIGTERM": [[["SIGINT", 0], ["SIGTERM", 900], ["SIGTERM", 1100]], ["stop", undefined, "exit"]],
  "ignored signals do not postpone the next one": [
    [["SIGINT", 0], ["SIGINT", 600], ["SIGINT", 1200]],
    ["stop", undefined, "exit"],
  ],
  "SIGHUP while stopping": [[["SIGTERM", 0], ["SIGHUP", 500], ["SIGHUP", 5000]], ["stop", undefined, undefined]],
};

for (const [name, [course, expected]] of Object.entries(STOPS)) {
  Deno.test(`Signals: ${name}`, () => assertEquals(actions(course), expected));
}

Deno.test("Signals: SIGHUP reloads, however often", () => {
  assertEquals(actions([["SIGHUP", 0], ["SIGHUP", 1], ["SIGHUP", 9000]]), ["reload", "reload", "reload"]);
  assertEquals(actions([["SIGHUP", 0], ["SIGTERM", 1], ["SIGTERM", 1001]]), ["reload", "stop", "exit"]);
});

Deno.test("Signals: SIGHUP of a closed terminal stops", () => {
  for (const options of [{ hasTerminal: true }, { os: "windows" }] as const) {
    assertEquals(actions([["SIGHUP", 0], ["SIGHUP", 2], ["SIGHUP", 1000]], options), ["stop", undefined, "exit"]);
    assertEquals(actions([["SIGINT", 0], ["SIGHUP", 2000]], options), ["stop", "exit"]);
  }
});

Deno.test("signalsOf() returns the signals that the system sends", () => {
  for (const os of ["linux", "darwin", "freebsd"] as const) {
    assertEquals(signalsOf(os), ["SIGINT", "SIGTERM", "SIGHUP"]);
  }
  assertEquals(signalsOf("windows"), ["SIGINT", "SIGBREAK", "SIGHUP"]);
});
