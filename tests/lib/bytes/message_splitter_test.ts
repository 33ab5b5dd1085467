/** The cutter gives whole messages, and all bytes once, however a stream is cut and whatever its line ends are. */

import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { ByteQueue, join } from "../../../lib/bytes/byte_queue.ts";
import { MessageSplitter, type Separator, type SplitterSink } from "../../../lib/bytes/message_splitter.ts";
import { bytesOf, random } from "../../support/fixtures.ts";

const LIMIT_BYTES = 20;

/** Keeps what it is given. */
class Collector implements SplitterSink {
  /** All bytes, in order. */
  readonly all: Uint8Array[] = [];
  readonly wholes: string[] = [];
  readonly longs: string[] = [];
  /** How many long messages began. */
  begun = 0;

  whole(messages: Uint8Array): void {
    this.all.push(messages.slice());
    this.wholes.push(textOf(messages));
  }

  long(bytes: Uint8Array, begins: boolean): void {
    this.all.push(bytes.slice());
    this.longs.push(textOf(bytes));
    if (begins) this.begun++;
  }
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

interface Cut extends Collector {
  /** What {@linkcode MessageSplitter.end} returned. */
  readonly rest: string;
}

/** Cuts a stream that comes in these chunks, in one array that is used again and again. */
function cut(separator: Separator, chunks: readonly (string | Uint8Array)[], limit = LIMIT_BYTES): Cut {
  const sink = new Collector();
  const cutter = new MessageSplitter(separator, limit, sink);
  for (const chunk of chunks) {
    const reused = typeof chunk === "string" ? bytesOf(chunk) : chunk.slice();
    cutter.push(reused);
    reused.fill(10);
  }
  const rest = cutter.end();
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

/** The messages of a text, with their ends, and what follows them: the same as a cutter's, in the simplest way. */
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
  Deno.test(`MessageSplitter cuts ${name} in the same places at every chunk size and wherever they are cut in two`, () => {
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

Deno.test("MessageSplitter gives a message as soon as its end is there, and several at once", () => {
  const sink = new Collector();
  const cutter = new MessageSplitter("line", LIMIT_BYTES, sink);
  const steps = [["a", 0], ["b\n", 1], ["c\nd\ne", 2], ["", 2], ["\n", 3]] as const;
  for (const [chunk, given] of steps) {
    cutter.push(bytesOf(chunk));
    assertEquals(sink.wholes.length, given, chunk);
  }
  assertEquals(sink.wholes, ["ab\n", "c\nd\n", "e\n"]);
  assertEquals(cutter.end().length, 0);
});

Deno.test("MessageSplitter passes a message over the limit as it comes, and goes on behind it", () => {
  const long = "x".repeat(LIMIT_BYTES + 1);
  const found = cut("line", ["a\n", long, "yy", `z\nb\n`, "c\n"]);
  assertEquals(found.longs, [long, "yy", "z\n"]);
  assertEquals(found.wholes, ["a\n", "b\n", "c\n"]);
  assertEquals(found.begun, 1);
});

Deno.test("MessageSplitter holds as many bytes as the limit says, and not one more", () => {
  assertEquals(cut("line", ["x".repeat(LIMIT_BYTES), "\n"]).begun, 0);
  assertEquals(cut("line", ["x".repeat(LIMIT_BYTES - 1), "x", "\n"]).begun, 0);
  assertEquals(cut("line", ["x".repeat(LIMIT_BYTES), "x", "\n"]).begun, 1);
  // What is whole in one piece is not held.
  assertEquals(cut("line", ["x".repeat(LIMIT_BYTES * 2) + "\n"]).begun, 0);
});

Deno.test("MessageSplitter tells of each long message once, also of one behind the other", () => {
  const long = "x".repeat(LIMIT_BYTES);
  const found = cut("blank_line", [`${long}1`, `${long}\n`, `\n${long}2`, "\r\n\r", "\nb\n", "\n"]);
  assertEquals(found.begun, 2);
  assertEquals(found.longs.join(""), `${long}1${long}\n\n${long}2\r\n\r\n`);
  assertEquals(found.wholes, ["b\n\n"]);
});

Deno.test("MessageSplitter gives nothing twice where a stream ends in a long message", () => {
  const long = "x".repeat(LIMIT_BYTES * 2);
  const found = cut("line", [long, long]);
  assertEquals([found.longs.join(""), found.wholes, found.rest], [long + long, [], ""]);
});

Deno.test("MessageSplitter gives all bytes of random streams once and in order, and never more than the limit is held", () => {
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

Deno.test("MessageSplitter takes a time that grows with the bytes only, however small the chunks are", () => {
  const chunk = bytesOf("x".repeat(16));
  const sink = new Collector();
  const cutter = new MessageSplitter("blank_line", 8 * 1024 * 1024, sink);
  const start = performance.now();
  for (let round = 0; round < 200_000; round++) cutter.push(chunk);
  assertEquals(cutter.end().length, 3_200_000);
  assertLessOrEqual(performance.now() - start, 3000);
});

Deno.test("ByteQueue gives back what was added, as copies, and is empty then", () => {
  const held = new ByteQueue();
  const part = bytesOf("ab");
  held.add(part);
  part.fill(0);
  held.add(bytesOf(""));
  held.add(bytesOf("c"));
  assertEquals(held.bytes, 3);
  assertEquals(textOf(held.take(bytesOf("d"))), "abcd");
  assertEquals(held.bytes, 0);
  const last = bytesOf("e");
  assert(held.take(last) === last);
  held.add(bytesOf("f"));
  held.clear();
  assertEquals([held.bytes, held.take(bytesOf("")).length], [0, 0]);
});

Deno.test("join() puts parts behind one another", () => {
  assertEquals(textOf(join([bytesOf("a"), bytesOf(""), bytesOf("bc")])), "abc");
  assertEquals(join([]).length, 0);
});
