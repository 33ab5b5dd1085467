/** The tap by itself: every byte passes, when it is asked for, and the watcher is told once how it ended. */

import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { join } from "../lib/cutter.ts";
import { type Filter, READ_BYTES, tap, type Watcher } from "../lib/tap.ts";
import { bytesOf, random, turn } from "./fixtures.ts";

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

  complete(): void {
    this.events.push("complete");
  }

  broken(error: unknown): void {
    this.events.push(`broken: ${error}`);
  }

  cancelled(): void {
    this.events.push("cancelled");
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

async function bytesOfStream(stream: ReadableStream<Bytes>): Promise<Bytes> {
  return await new Response(stream).bytes();
}

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
  Deno.test(`tap() passes every byte and shows it to the watcher (${kind})`, async () => {
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

  Deno.test(`tap() asks its source for nothing that it is not asked for (${kind})`, async () => {
    const source = new Source(["one", "two", "three"].map(bytesOf));
    const witness = new Witness();
    const reader = tap(source[kind](), witness).getReader();
    await turn();
    assertEquals([source.pulls, witness.events], [0, []]);
    for (const [index, word] of ["one", "two", "three"].entries()) {
      const { value } = await reader.read();
      assertEquals(value, bytesOf(word));
      await turn();
      assertEquals([source.pulls, witness.events.length], [index + 1, index + 1]);
    }
    assertEquals((await reader.read()).done, true);
  });

  Deno.test(`tap() breaks off when its source does, with the same error and after what came (${kind})`, async () => {
    const error = new Error("gone");
    const witness = new Witness();
    const reader = tap(new Source([bytesOf("half")], error)[kind](), witness).getReader();
    assertEquals((await reader.read()).value, bytesOf("half"));
    assertStrictEquals(await assertRejects(() => reader.read()), error);
    assertEquals(witness.events, ["chunk 4", "broken: Error: gone"]);
  });

  Deno.test(`tap() cancels its source when its reader leaves, and says so once (${kind})`, async () => {
    const source = new Source([bytesOf("one"), bytesOf("two")]);
    const witness = new Witness();
    const reader = tap(source[kind](), witness).getReader();
    await reader.read();
    await reader.cancel("left");
    assertEquals([source.cancelled, source.pulls], ["left", 1]);
    assertEquals(witness.events, ["chunk 3", "cancelled"]);
  });
}

Deno.test("tap() says nothing more when its reader leaves while a read is pending", async () => {
  let source: ReadableByteStreamController | undefined;
  const body = new ReadableStream({
    type: "bytes",
    start: (controller) => void (source = controller),
  }) as ReadableStream<Bytes>;
  const witness = new Witness();
  const reader = tap(body, witness).getReader();
  const pending = reader.read();
  await turn();
  await reader.cancel();
  assertEquals((await pending).done, true);
  try {
    source?.enqueue(bytesOf("too late"));
  } catch {
    // A source that was cancelled takes nothing.
  }
  await turn();
  assertEquals(witness.events, ["cancelled"]);
});

Deno.test("tap() gives away no buffer that it uses again", async () => {
  const reader = tap(new Source([bytesOf("aaaa"), bytesOf("bbbb"), bytesOf("cccc")]).bytes(), new Witness())
    .getReader();
  const got: Bytes[] = [];
  for (let read = await reader.read(); !read.done; read = await reader.read()) got.push(read.value);
  assertEquals(got, ["aaaa", "bbbb", "cccc"].map(bytesOf));
  // Exactly as large as what they hold: a tail that is kept must not keep a whole buffer alive.
  assertEquals(got.map(({ buffer }) => buffer.byteLength), [4, 4, 4]);
});

/** Passes on only what is in upper case, and what it held back at the end. */
class UpperCase implements Filter {
  push(bytes: Uint8Array): Uint8Array {
    return bytes.filter((byte) => byte >= 65 && byte <= 90);
  }

  end(): Uint8Array {
    return bytesOf("!");
  }
}

Deno.test("tap() passes on what a filter leaves, and shows the watcher what came", async () => {
  const witness = new Witness();
  const source = new Source(["Ab", "cde", "fG"].map(bytesOf));
  assertEquals(await bytesOfStream(tap(source.bytes(), witness, new UpperCase())), bytesOf("AG!"));
  assertEquals([new TextDecoder().decode(witness.seen), witness.passed], ["AbcdefG", 2]);
  assertEquals(witness.events, ["chunk 2", "chunk 3", "chunk 2", "complete"]);
});

Deno.test("tap() passes on what a filter held when the source breaks off", async () => {
  const witness = new Witness();
  const reader = tap(new Source([bytesOf("Ab")], new Error("gone")).bytes(), witness, new UpperCase()).getReader();
  assertEquals((await reader.read()).value, bytesOf("A"));
  assertEquals((await reader.read()).value, bytesOf("!"));
  await assertRejects(() => reader.read(), Error, "gone");
  assertEquals(witness.events, ["chunk 2", "broken: Error: gone"]);
});
