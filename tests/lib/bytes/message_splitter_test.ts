/** Whole messages, and all bytes once, however a stream is cut and whatever its line ends are. */

import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { join } from "../../../lib/bytes/byte_queue.ts";
import { MessageSplitter, type Part, type Separator } from "../../../lib/bytes/message_splitter.ts";
import { bytesOf, random } from "../../support/fixtures.ts";

const LIMIT_BYTES = 20;

/** Keeps what a splitter returns. */
class Collector {
  /** All bytes, in order. */
  readonly all: Uint8Array[] = [];
  readonly wholes: string[] = [];
  readonly longs: string[] = [];
  /** Number of oversized messages that began. */
  begun = 0;

  add(parts: readonly Part[]): void {
    for (const { bytes, oversized } of parts) {
      this.all.push(bytes.slice());
      (oversized === undefined ? this.wholes : this.longs).push(textOf(bytes));
      if (oversized === "start") this.begun++;
    }
  }
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

interface Split extends Collector {
  /** What {@linkcode MessageSplitter.end} returned. */
  readonly rest: string;
}

/** Cuts a stream that comes in these chunks, in one array that is used again and again. */
function cut(separator: Separator, chunks: readonly (string | Uint8Array)[], limit = LIMIT_BYTES): Split {
  const sink = new Collector();
  const splitter = new MessageSplitter(separator, limit);
  for (const chunk of chunks) {
    const reused = typeof chunk === "string" ? bytesOf(chunk) : chunk.slice();
    sink.add(splitter.push(reused));
    reused.fill(10);
  }
  const rest = splitter.end();
  sink.all.push(rest);
  return Object.assign(sink, { rest: textOf(rest) });
}

function* pieces(bytes: Uint8Array, size: () => number): Generator<Uint8Array> {
  let start = 0;
  while (start < bytes.length) {
    const end = start + size();
    yield bytes.subarray(start, end);
    start = end;
  }
}

/** The messages of a text, with their ends, and what follows them: the same as a splitter's, in the simplest way. */
function messagesIn(separator: Separator, text: string): { messages: string[]; rest: string } {
  const messages = (text + "$").split(separator === "line" ? /(?<=\n)/ : /(?<=\n\r?\n)/);
  return { rest: messages.pop()?.slice(0, -1) ?? "", messages };
}

/** Where each of the parts ends in all of them. */
function ends(parts: readonly string[]): number[] {
  return parts.map((_, index) => parts.slice(0, index + 1).join("").length);
}

const TEXTS: Record<string, { separator: Separator; text: string }> = {
  "lines": { separator: "line", text: "a\nbc\n\nd\r\n\r\né🦙\nlast" },
  "lines to the end": { separator: "line", text: "a\nb\n" },
  "line ends only": { separator: "line", text: "\n\n\r\n\n" },
  "one unfinished line": { separator: "line", text: "abc" },
  "events": { separator: "blank_line", text: "a\nb\n\nc\n\nd\n" },
  "events with \\r\\n": { separator: "blank_line", text: "a\r\nb\r\n\r\nc\r\n\r\nd\r\n" },
  "events with either": { separator: "blank_line", text: "a\n\r\nb\r\n\nc\n\n\n\nd\r\n\r\n\r\n" },
  "events with lone \\r": { separator: "blank_line", text: "a\r\rb\r\r\nc\n\rd\n\n" },
  "no event's end": { separator: "blank_line", text: "a\nb\nc" },
  "nothing": { separator: "blank_line", text: "" },
};

for (const [name, { separator, text }] of Object.entries(TEXTS)) {
  Deno.test(`MessageSplitter splits ${name} at the same places at every chunk size`, () => {
    const bytes = bytesOf(text);
    const { messages, rest } = messagesIn(separator, text);
    const compare = (chunks: Iterable<Uint8Array>, how: string) => {
      const found = cut(separator, [...chunks]);
      assertEquals(found.wholes.join(""), messages.join(""), how);
      assertEquals(found.rest, rest, how);
      // Each piece that is given ends where a message does.
      assert(ends(found.wholes).every((end) => ends(messages).includes(end)), how);
      assertEquals(found.longs, [], how);
    };
    for (let size = 1; size <= bytes.length + 1; size++) compare(pieces(bytes, () => size), `chunks of ${size}`);
    for (let at = 0; at <= bytes.length; at++) compare([bytes.subarray(0, at), bytes.subarray(at)], `cut at ${at}`);
  });
}

Deno.test("MessageSplitter returns a message as soon as it is whole, and several at once", () => {
  const sink = new Collector();
  const splitter = new MessageSplitter("line", LIMIT_BYTES);
  const steps = [["a", 0], ["b\n", 1], ["c\nd\ne", 2], ["", 2], ["\n", 3]] as const;
  for (const [chunk, given] of steps) {
    sink.add(splitter.push(bytesOf(chunk)));
    assertEquals(sink.wholes.length, given, chunk);
  }
  assertEquals(sink.wholes, ["ab\n", "c\nd\n", "e\n"]);
  assertEquals(splitter.end().length, 0);
});

Deno.test("MessageSplitter returns a message over the limit in parts, and reads on after it", () => {
  const long = "x".repeat(LIMIT_BYTES + 1);
  const found = cut("line", ["a\n", long, "yy", `z\nb\n`, "c\n"]);
  assertEquals(found.longs, [long, "yy", "z\n"]);
  assertEquals(found.wholes, ["a\n", "b\n", "c\n"]);
  assertEquals(found.begun, 1);
});

Deno.test("MessageSplitter holds exactly as many bytes as the limit", () => {
  assertEquals(cut("line", ["x".repeat(LIMIT_BYTES), "\n"]).begun, 0);
  assertEquals(cut("line", ["x".repeat(LIMIT_BYTES - 1), "x", "\n"]).begun, 0);
  assertEquals(cut("line", ["x".repeat(LIMIT_BYTES), "x", "\n"]).begun, 1);
  // What is whole in one piece is not held.
  assertEquals(cut("line", ["x".repeat(LIMIT_BYTES * 2) + "\n"]).begun, 0);
});

Deno.test("MessageSplitter marks the start of each oversized message once", () => {
  const long = "x".repeat(LIMIT_BYTES);
  const found = cut("blank_line", [`${long}1`, `${long}\n`, `\n${long}2`, "\r\n\r", "\nb\n", "\n"]);
  assertEquals(found.begun, 2);
  assertEquals(found.longs.join(""), `${long}1${long}\n\n${long}2\r\n\r\n`);
  assertEquals(found.wholes, ["b\n\n"]);
});

Deno.test("MessageSplitter returns nothing twice if a stream ends in an oversized message", () => {
  const long = "x".repeat(LIMIT_BYTES * 2);
  const found = cut("line", [long, long]);
  assertEquals([found.longs.join(""), found.wholes, found.rest], [long + long, [], ""]);
});

Deno.test("MessageSplitter returns all bytes of random streams once and in order", () => {
  for (let seed = 1; seed <= 500; seed++) {
    const next = random(seed);
    const below = (bound: number) => Math.floor(next() * bound);
    const length = below(400);
    const bytes = Uint8Array.from({ length }, () => [10, 10, 13, 97, 98, 0, 255][below(7)] ?? 0);
    const chunks = [...pieces(bytes, () => 1 + below(seed % 2 === 0 ? 4 : 60))];
    const found = cut(seed % 3 === 0 ? "line" : "blank_line", chunks, below(30));
    assertEquals(join(found.all), bytes, `seed ${seed}`);
  }
});

Deno.test("MessageSplitter.push() reads each byte a constant number of times, however small the chunks are", () => {
  const splitter = new MessageSplitter("blank_line", 8 * 1024 * 1024);
  let looked = 0;
  /** Counts the bytes that are searched or copied. */
  class Counted extends Uint8Array<ArrayBuffer> {
    override indexOf(byte: number, from?: number): number {
      looked += this.length;
      return super.indexOf(byte, from);
    }
    override lastIndexOf(byte: number, from = this.length): number {
      looked += this.length;
      return super.lastIndexOf(byte, from);
    }
    override slice(start?: number, end?: number): Uint8Array<ArrayBuffer> {
      looked += this.length;
      return new Uint8Array(super.slice(start, end));
    }
  }
  const chunk = new Counted(new ArrayBuffer(16)).fill(120);
  for (let round = 0; round < 20_000; round++) splitter.push(chunk);
  assertEquals(splitter.end().length, 320_000);
  assertLessOrEqual(looked, 4 * 320_000);
});

Deno.test("MessageSplitter.push() returns whole messages as they came, and nothing else", () => {
  const taken = (separator: Separator, ...chunks: string[]): boolean[] => {
    const splitter = new MessageSplitter(separator, 8);
    return chunks.map((chunk) => {
      const bytes = bytesOf(chunk);
      const parts = splitter.push(bytes);
      return parts.length === 1 && parts[0]?.bytes === bytes && parts[0].oversized === undefined;
    });
  };
  assertEquals(taken("line", "a\n", "b\nc\n", "d", "e\n", "f\n", ""), [true, true, false, false, true, false]);
  assertEquals(taken("line", "over the limit", "more\n", "a\n"), [false, false, true]);
  assertEquals(taken("blank_line", "a\n\n", "b\n", "\n", "c\r\n\r\n", "\n"), [true, false, false, true, true]);
  assertEquals(taken("blank_line", "a\n\nb\n", "\nc\n\n", "d\n\n"), [false, false, true]);
});
