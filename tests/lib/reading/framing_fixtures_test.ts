/** Every fixture, cut in every way, through the dialect of its endpoint. */

import { assert, assertEquals, assertLess, assertLessOrEqual } from "@std/assert";
import type { Report } from "../../../lib/observation.ts";
import { bytesOf, random, readFixtures } from "../../support/fixtures.ts";
import { assertSameResult, cut, expectedOf, read, resultOf, spread } from "../../support/framing_feed.ts";

/** Longer recordings are cut in answer_reader_recordings_test.ts only. */
const RECORDED_BYTES = 2100;
const FIXTURES = readFixtures().filter(({ isRecorded, bytes }) => !isRecorded || bytes.length < RECORDED_BYTES);
const STREAMS = FIXTURES.filter(({ kind }) => kind !== "json");

Deno.test("readFixtures() finds fixtures of all framings and of every dialect", () => {
  assertEquals(new Set(FIXTURES.map(({ kind }) => kind)), new Set(["ndjson", "sse", "json"]));
  const routes = new Set(FIXTURES.map(({ endpoint }) => endpoint.route));
  assertEquals(routes.size, 12, [...routes].join(" "));
  assertLess(40, STREAMS.length);
});

Deno.test("AnswerReader returns the same answer at every chunk size", async () => {
  for (const fixture of FIXTURES) {
    const { name, bytes } = fixture;
    const expected = await expectedOf(fixture, bytes);
    for (const size of spread(100, bytes.length)) {
      const what = `${name} in chunks of ${size} bytes`;
      assertSameResult(await read(fixture, cut(bytes, size)), expected, what);
      if (size > 40 && size % 7 !== 0) continue;
      const slowly = await read(fixture, cut(bytes, size), true);
      assertSameResult(slowly, expected, what);
      const firstOutputAt = expected.firstOutputAt &&
        Math.min(Math.ceil(expected.firstOutputAt / size) * size, bytes.length);
      assertEquals(slowly.firstOutputAt, firstOutputAt, `${what}: when output began`);
    }
  }
});

/** Figures of a part of an answer must be those of the whole, or absent; sums may be smaller. */
function assertPart(part: Report, whole: Report, what: string): void {
  for (const field of Object.keys(whole) as (keyof Report)[]) {
    if (part[field] === undefined) continue;
    if (field === "toolCalls" || field === "transferBytes") {
      assertLessOrEqual(part[field], whole[field], `${what}: ${field}`);
    } else if (field !== "finishReason") assertEquals(part[field], whole[field], `${what}: ${field}`);
  }
}

Deno.test("AnswerReader reads the messages before the cut of a body that is cut at any byte", async () => {
  for (const fixture of FIXTURES) {
    const { name, bytes } = fixture;
    const whole = await expectedOf(fixture, bytes);
    const cuts = bytes.length < 1500 ? Array.from(bytes, (_, index) => index) : [
      ...spread(200, bytes.length - 1),
      ...Array.from({ length: 300 }, (_, index) => bytes.length - 1 - index),
    ];
    for (const length of cuts) {
      const what = `the first ${length} bytes of ${name}`;
      const prefix = bytes.subarray(0, length);
      const slowly = length % 5 === 0;
      const collector = await read(fixture, cut(prefix, slowly ? 97 : length || 1), slowly);
      const result = resultOf(collector);
      assertSameResult(collector, await expectedOf(fixture, prefix), what);
      assertPart(result.report, whole.report, what);
      assert(!result.isTerminated || whole.terminatedAt !== undefined, `${what}: the end`);
    }
  }
});

Deno.test("AnswerReader accepts CR LF and LF, at every chunk size", async () => {
  for (const fixture of STREAMS) {
    const expected = await expectedOf(fixture, fixture.bytes);
    const bytes = bytesOf(new TextDecoder().decode(fixture.bytes).replaceAll("\n", "\r\n"));
    for (const size of [...Array.from({ length: 40 }, (_, index) => index + 1), 256, 1000, bytes.length]) {
      const collector = await read(fixture, cut(bytes, size), size > 3);
      assertSameResult(collector, expected, `${fixture.name} with CR LF in chunks of ${size} bytes`);
    }
  }
});

/** Lines that are no messages of anyone. */
const GARBAGE = [
  "garbage",
  "{",
  "}",
  '"unterminated',
  '{"done":true',
  "undefined",
  "NaN",
  "[DONE",
  "\u0000",
  "\ufffd",
  "<html>",
  '{"done":true}}',
  "'",
  "0x1",
];

Deno.test("AnswerReader counts random garbage between the messages, cut anywhere, and reads the rest", async () => {
  const next = random(42);
  const integer = (bound: number): number => Math.floor(next() * bound);
  for (const fixture of STREAMS) {
    const { kind, name, bytes } = fixture;
    const expected = await expectedOf(fixture, bytes);
    const separator = kind === "sse" ? "\n\n" : "\n";
    const pieces = new TextDecoder().decode(bytes).split(separator).filter((piece) => piece !== "");
    for (let run = 0; run < 40; run++) {
      let garbage = 0;
      const dirty = pieces.flatMap((piece) => {
        const before = Array.from({ length: integer(3) }, () => GARBAGE[integer(GARBAGE.length)]);
        garbage += before.length;
        return [...before.map((line) => kind === "sse" ? `data: ${line}` : line), piece];
      });
      const text = dirty.join(separator) + (run % 2 === 0 ? separator : "");
      const chunks: Uint8Array[] = [];
      for (let rest = bytesOf(text); rest.length > 0;) {
        const size = 1 + integer([3, 40, 400, 5000][integer(4)] ?? 1);
        chunks.push(rest.subarray(0, size));
        rest = rest.subarray(size);
      }
      const collector = await read(fixture, chunks, run % 3 > 0);
      const errors = garbage + (expected.parseErrors.invalid_json ?? 0);
      const dirtied = { ...expected, parseErrors: errors === 0 ? {} : { invalid_json: errors } };
      assertSameResult(collector, dirtied, `${name}, run ${run}`);
    }
  }
});
