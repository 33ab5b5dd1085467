/** What one read returns: a chunk at once, or small ones together; never a byte twice. */

import { assertEquals, assertExists } from "@std/assert";
import type { Bytes } from "../../../lib/proxy/body_reader.ts";
import { GATHER_BYTES, GatheringReader, LoopTicks, type ReadEnd } from "../../../lib/proxy/gather.ts";
import { bytesOf, liveBody, quickTicks, turn, turns } from "../../support/fixtures.ts";

/** What a read brought; a copy. */
interface Gathered {
  readonly bytes: Bytes;
  readonly end: ReadEnd | undefined;
}

/** A reader whose reads are promises. */
class PromisedReader {
  readonly #reader: GatheringReader;
  #received = Promise.withResolvers<Gathered>();

  constructor(body: ReadableStream<Bytes>, ticks: LoopTicks) {
    this.#reader = new GatheringReader(body, ticks, {
      receive: (bytes, end) => this.#received.resolve({ bytes: bytes.slice(), end }),
    });
  }

  read(): Promise<Gathered> {
    this.#received = Promise.withResolvers<Gathered>();
    this.#reader.read();
    return this.#received.promise;
  }

  cancel(reason: unknown): Promise<void> {
    return this.#reader.cancel(reason);
  }
}

/** A body whose chunks arrive when the test sends them, and its reader. They come in quick succession by default. */
function live(
  ticks = quickTicks(),
): { readonly reader: PromisedReader; readonly source: ReadableByteStreamController } {
  const { body, source } = liveBody();
  return { reader: new PromisedReader(body, ticks), source };
}

function textOf({ bytes }: Gathered): string {
  return new TextDecoder().decode(bytes);
}

/** Sends a chunk and returns what a read has brought before a turn of the event loop has passed. */
async function sentAtOnce({ reader, source }: ReturnType<typeof live>, text: string): Promise<string | undefined> {
  let received: string | undefined;
  const read = reader.read();
  source.enqueue(bytesOf(text));
  read.then((gathered) => received = textOf(gathered));
  for (let microtask = 0; microtask < 20; microtask++) await null;
  return received;
}

Deno.test("GatheringReader.read() returns the first chunk at once", async () => {
  const body = live();
  assertEquals(await sentAtOnce(body, "one"), "one");
  await body.reader.cancel("done");
});

Deno.test("GatheringReader.read() returns each chunk at once while they come one by one", async () => {
  let ms = 0;
  const body = live(new LoopTicks(() => ms += 2));
  for (const word of ["first", "second", "third"]) assertEquals(await sentAtOnce(body, word), word);
  await body.reader.cancel("done");
});

Deno.test("GatheringReader.read() returns each chunk at once however quickly those of other bodies come", async () => {
  let ms = 0;
  const ticks = new LoopTicks(() => ms += 0.1);
  const bodies = Array.from({ length: 32 }, () => live(ticks));
  for (const word of ["first", "second", "third"]) {
    for (const body of bodies) assertEquals(await sentAtOnce(body, word), word);
  }
  for (const { reader } of bodies) await reader.cancel("done");
});

Deno.test("GatheringReader.read() gathers chunks while each turn brings one, and ends two turns after the last", async () => {
  const { reader, source } = live();
  source.enqueue(bytesOf("first"));
  await reader.read();
  let gathered: Gathered | undefined;
  reader.read().then((read) => gathered = read);
  for (const word of ["a", "b", "c"]) {
    source.enqueue(bytesOf(word));
    await turn();
    assertEquals(gathered, undefined, word);
  }
  await turns(3);
  assertExists(gathered);
  assertEquals([textOf(gathered), gathered.end], ["abc", undefined]);
  await reader.cancel("done");
});

Deno.test("GatheringReader.read() returns no more than its limit and the chunk that exceeds it", async () => {
  const { reader, source } = live();
  source.enqueue(bytesOf("first"));
  await reader.read();
  const read = reader.read();
  for (const size of [GATHER_BYTES - 1, 1, 100]) source.enqueue(new Uint8Array(size));
  assertEquals((await read).bytes.length, GATHER_BYTES + 100);
  await reader.cancel("done");
});

Deno.test("GatheringReader.read() returns the end with the last chunk, complete or broken", async () => {
  for (const error of [undefined, new Error("gone")]) {
    const { reader, source } = live();
    source.enqueue(bytesOf("first"));
    await reader.read();
    const read = reader.read();
    source.enqueue(bytesOf("last"));
    await turn();
    if (error === undefined) {
      source.close();
      source.byobRequest?.respond(0);
    } else source.error(error);
    const gathered = await read;
    assertEquals(textOf(gathered), "last");
    assertEquals(gathered.end, error === undefined ? { how: "complete" } : { how: "broken", error });
  }
});

Deno.test("GatheringReader reads the body once ahead, and not more, while nobody waits for it", async () => {
  let pulls = 0;
  const body = new ReadableStream({
    type: "bytes",
    pull(controller: ReadableByteStreamController): void {
      pulls++;
      controller.enqueue(bytesOf("word"));
    },
  }) as ReadableStream<Bytes>;
  const reader = new PromisedReader(body, quickTicks());
  await reader.read();
  await reader.read();
  const before = pulls;
  await turns(20);
  assertEquals(pulls - before <= 1, true, `${pulls - before} pulls`);
  await reader.cancel("done");
});
