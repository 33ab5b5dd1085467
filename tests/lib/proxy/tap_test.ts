/** The tap by itself: every byte passes, when it is asked for, and the watcher is told once how it ended. */

import { assert, assertEquals, assertExists, assertRejects, assertStrictEquals } from "@std/assert";
import { join } from "../../../lib/bytes/byte_queue.ts";
import { READ_BYTES } from "../../../lib/proxy/body_reader.ts";
import { GATHER_BYTES } from "../../../lib/proxy/gather.ts";
import { type BodyEnd, type Filter, tap as tapOf, type Watcher } from "../../../lib/proxy/tap.ts";
import { bytesOf, bytesOfStream, liveBody, quickTicks, random, turn, turns } from "../../support/fixtures.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Writes down what it is told, and keeps copies of what it sees. */
class Witness implements Watcher {
  readonly #seen: Uint8Array[] = [];
  readonly events: string[] = [];
  passed = 0;

  chunk(bytes: Uint8Array, passed: number): void {
    this.#seen.push(bytes.slice());
    this.passed += passed;
    this.events.push(`chunk ${bytes.length}`);
  }

  get seen(): Bytes {
    return join(this.#seen);
  }

  end(end: BodyEnd, error?: unknown): void {
    this.events.push(error === undefined ? end : `${end}: ${error}`);
  }
}

/** A source whose every pull is counted. */
class Source {
  pulls = 0;
  cancelled: unknown;
  readonly #chunks: Bytes[];
  readonly #error: Error | undefined;

  /** @param error What the source breaks with behind its chunks; absent: it ends. */
  constructor(chunks: readonly Bytes[], error?: Error) {
    this.#chunks = [...chunks];
    this.#error = error;
  }

  /** As the body of a `fetch` response is. */
  bytes(): ReadableStream<Bytes> {
    return new ReadableStream({
      type: "bytes",
      pull: (controller) => {
        this.#pull(controller);
        if (this.#chunks.length === 0 && this.#error === undefined) controller.byobRequest?.respond(0);
      },
      cancel: (reason) => {
        this.cancelled = reason;
      },
    }) as ReadableStream<Bytes>;
  }

  /** As the body of a small request is in `Deno.serve`. */
  plain(): ReadableStream<Bytes> {
    return new ReadableStream<Bytes>({
      pull: (controller) => this.#pull(controller),
      cancel: (reason) => {
        this.cancelled = reason;
      },
    }, { highWaterMark: 0 });
  }

  #pull(controller: { enqueue(chunk: Bytes): void; close(): void; error(error: unknown): void }): void {
    this.pulls++;
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) controller.enqueue(chunk);
    else if (this.#error !== undefined) controller.error(this.#error);
    else controller.close();
  }
}

/** A tap among others. */
const tap = (body: ReadableStream<Bytes>, watcher: Watcher, filter?: Filter): ReadableStream<Bytes> =>
  tapOf(body, { watcher, ticks: TICKS, filter });

const TICKS = quickTicks();

/** The bytes in pieces of random length. */
function pieces(bytes: Bytes, seed: number, most: number): Bytes[] {
  const next = random(seed);
  const parts: Bytes[] = [];
  for (let start = 0; start < bytes.length;) {
    const end = start + 1 + Math.floor(next() * most);
    parts.push(bytes.slice(start, end));
    start = end;
  }
  return parts;
}

for (const kind of ["bytes", "plain"] as const) {
  Deno.test(`tap() forwards every byte and shows it to the watcher (${kind})`, async () => {
    const bytes = new Uint8Array(40_000).map((_, index) => (index * 31) >> 4);
    for (const [seed, most] of [[1, 1], [2, 70], [3, 1000], [4, READ_BYTES], [5, 100_000]] as const) {
      const parts = pieces(most === 1 ? bytes.slice(0, 300) : bytes, seed, most);
      const whole = join(parts);
      const witness = new Witness();
      const source = new Source(parts);
      assertEquals(await bytesOfStream(tap(source[kind](), witness)), whole);
      assertEquals(witness.seen, whole);
      assertEquals([witness.passed, witness.events.at(-1)], [whole.length, "complete"]);
      assertEquals(witness.events.filter((event) => !event.startsWith("chunk")), ["complete"]);
    }
  });

  Deno.test(`tap() forwards the first chunk at once, and reads no more until it is read (${kind})`, async () => {
    const source = new Source(["one", "two"].map(bytesOf));
    const witness = new Witness();
    const reader = tap(source[kind](), witness).getReader();
    await turns(5);
    assertEquals([source.pulls, witness.events], [0, []]);
    assertEquals((await reader.read()).value, bytesOf("one"));
    await turns(5);
    assertEquals([source.pulls, witness.events], [1, ["chunk 3"]]);
    assertEquals((await reader.read()).value, bytesOf("two"));
    assertEquals((await reader.read()).done, true);
    assertEquals(witness.events, ["chunk 3", "chunk 3", "complete"]);
  });

  Deno.test(`tap() gathers small chunks without a pause between them, up to a limit (${kind})`, async () => {
    const chunks = Array.from({ length: 100 }, (_, index) => new Uint8Array(100).fill(index));
    const reader = tap(new Source(chunks.map((chunk) => chunk.slice()))[kind](), new Witness()).getReader();
    const sizes: number[] = [];
    const got: Bytes[] = [];
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      sizes.push(read.value.length);
      got.push(read.value);
    }
    assertEquals(join(got), join(chunks));
    assertEquals(sizes[0], 100);
    assert(sizes.length < 20, `${sizes}`);
    assert(Math.max(...sizes) < GATHER_BYTES + 2 * 100, `${sizes}`);
  });

  Deno.test(`tap() reads one buffer ahead of a reader that does not read (${kind})`, async () => {
    const source = new Source(Array.from({ length: 1000 }, () => new Uint8Array(READ_BYTES)));
    const reader = tap(source[kind](), new Witness()).getReader();
    await reader.read();
    await reader.read();
    await turns(20);
    // What is read ahead is one buffer, of which a source such as this one fills ever larger ones.
    assert(source.pulls <= 4, `${source.pulls}`);
  });

  Deno.test(`tap() breaks off when its source does, with the same error (${kind})`, async () => {
    const error = new Error("gone");
    const witness = new Witness();
    const reader = tap(new Source([bytesOf("half")], error)[kind](), witness).getReader();
    assertEquals((await reader.read()).value, bytesOf("half"));
    assertStrictEquals(await assertRejects(() => reader.read()), error);
    assertEquals(witness.events, ["chunk 4", "broken: Error: gone"]);
  });

  Deno.test(`tap() cancels its source when its reader cancels, and reports it once (${kind})`, async () => {
    const source = new Source([bytesOf("one"), bytesOf("two")]);
    const witness = new Witness();
    const reader = tap(source[kind](), witness).getReader();
    await reader.read();
    await reader.cancel("left");
    assertEquals([source.cancelled, source.pulls], ["left", 1]);
    assertEquals(witness.events, ["chunk 3", "cancelled"]);
  });
}

Deno.test("tap() reports nothing more when its reader cancels during a read", async () => {
  const { body, source } = liveBody();
  const witness = new Witness();
  const reader = tap(body, witness).getReader();
  const pending = reader.read();
  await turn();
  await reader.cancel();
  assertEquals((await pending).done, true);
  try {
    source.enqueue(bytesOf("too late"));
  } catch {
    // A source that was cancelled takes nothing.
  }
  await turn();
  assertEquals(witness.events, ["cancelled"]);
});

Deno.test("tap() shows what was gathered when its reader cancels, but not as forwarded", async () => {
  const { body, source } = liveBody();
  const witness = new Witness();
  const reader = tap(body, witness).getReader();
  source.enqueue(bytesOf("first"));
  await reader.read();
  const pending = reader.read();
  source.enqueue(bytesOf("final"));
  // Gathered, but not delivered: that takes two turns of the event loop.
  for (let step = 0; step < 50; step++) await Promise.resolve();
  await reader.cancel();
  assertEquals((await pending).done, true);
  assertEquals([witness.events, witness.passed], [["chunk 5", "chunk 5", "cancelled"], 5]);
});

Deno.test("tap() ends once when its reader cancels while the last chunk is forwarded", async () => {
  const witness = new Witness();
  const reader = tap(new Source([bytesOf("first"), bytesOf("last")]).bytes(), witness).getReader();
  const { enqueue } = ReadableStreamDefaultController.prototype;
  // As `Deno.serve` does: it takes a chunk within `enqueue()`, and cancels where that cannot be sent.
  ReadableStreamDefaultController.prototype.enqueue = function (chunk): void {
    enqueue.call(this, chunk);
    if (chunk.length === 4) reader.cancel("resource closed");
  };
  try {
    await reader.read();
    await reader.read();
    await turns(20);
  } finally {
    ReadableStreamDefaultController.prototype.enqueue = enqueue;
  }
  assertEquals([witness.events, witness.passed], [["chunk 5", "chunk 4", "cancelled"], 5]);
});

Deno.test("tap() forwards no buffer that it reuses", async () => {
  const { body, source } = liveBody();
  const reader = tap(body, new Witness()).getReader();
  const got: Bytes[] = [];
  for (const word of ["aaaa", "bbbb", "cccc"]) {
    const reading = reader.read();
    source.enqueue(bytesOf(word));
    got.push((await reading).value ?? new Uint8Array(0));
  }
  assertEquals(got, ["aaaa", "bbbb", "cccc"].map(bytesOf));
  // Exactly as large as what they hold: a tail that is kept must not keep a whole buffer alive.
  assertEquals(got.map(({ buffer }) => buffer.byteLength), [4, 4, 4]);
  await reader.cancel();
});

Deno.test("tap() forwards what it gathered when nothing more arrives, whatever other taps do", async () => {
  const streams = Array.from({ length: 20 }, liveBody);
  const readers = streams.map(({ body }) => tap(body, new Witness()).getReader());
  for (let round = 0; round < 5; round++) {
    const chunks = await Promise.all(readers.map(async (reader, index) => {
      const reading = reader.read();
      await turns(index % 3);
      streams[index]?.source.enqueue(bytesOf(`${round} ${index}`));
      return new TextDecoder().decode((await reading).value);
    }));
    assertEquals(chunks, readers.map((_, index) => `${round} ${index}`));
  }
  await Promise.all(readers.map((reader) => reader.cancel()));
});

Deno.test("tap() ends both sides on an exception of ours, and other taps are unaffected", async () => {
  for (const [at, words] of [[1, 3], [2, 3], [2, 2000]] as const) {
    const witness = new Witness();
    const push = witness.chunk.bind(witness);
    witness.chunk = (bytes, passed) => {
      push(bytes, passed);
      if (witness.events.length === at) throw new RangeError("no memory");
    };
    const source = new Source(Array.from({ length: words }, () => bytesOf("word")));
    const { body: other, source: otherSource } = liveBody();
    const otherReader = tap(other, new Witness()).getReader();
    otherSource.enqueue(bytesOf("first"));
    await otherReader.read();
    const unhandled = nextUnhandled();
    const reader = tap(source.bytes(), witness).getReader();
    await assertRejects(async () => {
      while (!(await reader.read()).done);
    }, RangeError);
    assertEquals(await unhandled, "no memory");
    assertEquals(witness.events.at(-1), "broken: RangeError: no memory");
    if (words > 10) assertExists(source.cancelled);
    const reading = otherReader.read();
    otherSource.enqueue(bytesOf("second"));
    assertEquals((await reading).value, bytesOf("second"));
    await otherReader.cancel();
  }
});

Deno.test("tap() ends both sides on an exception while it forwards what it gathered", async () => {
  const { body, source } = liveBody();
  const witness = new Witness();
  const reader = tap(body, witness).getReader();
  source.enqueue(bytesOf("first"));
  await reader.read();
  witness.chunk = () => {
    throw new RangeError("no memory");
  };
  const unhandled = nextUnhandled();
  const reading = reader.read();
  source.enqueue(bytesOf("second"));
  assertEquals((await reading).value, bytesOf("second"));
  await assertRejects(() => reader.read(), RangeError);
  assertEquals([await unhandled, witness.events.at(-1)], ["no memory", "broken: RangeError: no memory"]);
});

/** The message of the next error that nobody handles. */
function nextUnhandled(): Promise<string> {
  return new Promise((resolve) =>
    addEventListener("unhandledrejection", (event) => {
      event.preventDefault();
      resolve(event.reason.message);
    }, { once: true })
  );
}

/** Passes on only what is in upper case, and what it held back at the end. */
class UpperCase implements Filter {
  push(bytes: Uint8Array): Uint8Array {
    return bytes.filter((byte) => byte >= 65 && byte <= 90);
  }

  end(): Uint8Array {
    return bytesOf("!");
  }
}

Deno.test("tap() forwards what a filter returns, and shows the watcher what arrived", async () => {
  const witness = new Witness();
  const source = new Source(["Ab", "cde", "fG"].map(bytesOf));
  assertEquals(await bytesOfStream(tap(source.bytes(), witness, new UpperCase())), bytesOf("AG!"));
  // The watcher counts what the filter held back until the end, too.
  assertEquals([new TextDecoder().decode(witness.seen), witness.passed], ["AbcdefG", 3]);
  assertEquals(witness.events.at(-1), "complete");
});

Deno.test("tap() reads on if a filter holds a whole chunk back", async () => {
  const { body, source } = liveBody();
  const reader = tap(body, new Witness(), new UpperCase()).getReader();
  const reading = reader.read();
  for (const word of ["abc", "def", "X"]) {
    source.enqueue(bytesOf(word));
    await turns(5);
  }
  assertEquals((await reading).value, bytesOf("X"));
  await reader.cancel();
});

Deno.test("tap() forwards what a filter held when the source breaks off", async () => {
  const witness = new Witness();
  const reader = tap(new Source([bytesOf("Ab")], new Error("gone")).bytes(), witness, new UpperCase()).getReader();
  assertEquals((await reader.read()).value, bytesOf("A"));
  assertEquals((await reader.read()).value, bytesOf("!"));
  await assertRejects(() => reader.read(), Error, "gone");
  assertEquals([witness.events, witness.passed], [["chunk 2", "chunk 0", "broken: Error: gone"], 2]);
});

Deno.test("tap() releases a chunk when the next one is read", async () => {
  const chunks = [1, 2, 3].map((byte) => new Uint8Array(READ_BYTES).fill(byte));
  const reader = tap(new Source(chunks).plain(), new Witness()).getReader();
  let before: Bytes | undefined;
  for (const { length } of chunks) {
    const { value } = await reader.read();
    assertExists(value);
    assertEquals([value.length, before?.length], [length, before && 0]);
    before = value;
  }
  assert((await reader.read()).done);
});
