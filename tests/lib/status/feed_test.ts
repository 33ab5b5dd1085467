/** Who looks is sent what has changed, and where nobody looks nothing is done. */

import { assert, assertEquals, assertRejects, fail } from "@std/assert";
import { Feed, type FeedOptions, type Part, VIEWER_LIMIT } from "../../../lib/status/feed.ts";
import { delay, until } from "../../support/helpers.ts";

const SEND_MS = 5;

/** A part whose version a test sets, and which counts how often it was serialised. */
class TestPart implements Part {
  readonly event: string;
  value = 1;
  serialised = 0;

  constructor(event: string) {
    this.event = event;
  }

  version(): number {
    return this.value;
  }

  content(): unknown {
    this.serialised++;
    return { value: this.value };
  }
}

/** Reads events as text; the stream is cancelled at the end of the block. */
class Viewer implements AsyncDisposable {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;

  constructor(feed: Feed) {
    this.#reader = feed.open()?.getReader() ?? fail("There is room for a viewer");
  }

  /** The next event, or `undefined` at the end. */
  async next(): Promise<string | undefined> {
    const { value } = await this.#reader.read();
    return value && new TextDecoder().decode(value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader.cancel();
  }
}

/** A feed that sends often, and what it called. */
function testFeed(options: Partial<FeedOptions> = {}): { feed: Feed; parts: TestPart[]; calls: string[] } {
  const parts = [new TestPart("fast"), new TestPart("slow")];
  const calls: string[] = [];
  const feed = new Feed({
    parts,
    beforeSending: () => void calls.push("beforeSending"),
    internalError: (error) => void calls.push(String(error)),
    sendMs: SEND_MS,
    ...options,
  });
  return { feed, parts, calls };
}

Deno.test("Feed sends all parts to a new viewer, and then those that have changed", async () => {
  const { feed, parts: [fast] } = testFeed();
  await using viewer = new Viewer(feed);
  assertEquals(await viewer.next(), 'event:fast\ndata:{"value":1}\n\n');
  assertEquals(await viewer.next(), 'event:slow\ndata:{"value":1}\n\n');
  (fast ?? fail()).value = 2;
  assertEquals(await viewer.next(), 'event:fast\ndata:{"value":2}\n\n');
  (fast ?? fail()).value = 3;
  assertEquals(await viewer.next(), 'event:fast\ndata:{"value":3}\n\n', "and not the other one, which is the same");
});

Deno.test("Feed serialises a part once, however many look", async () => {
  const { feed, parts: [fast, slow] } = testFeed();
  await using first = new Viewer(feed);
  await using second = new Viewer(feed);
  await using third = new Viewer(feed);
  const viewers = [first, second, third];
  for (const viewer of viewers) for (const _ of [1, 2]) await viewer.next();
  const before = [fast?.serialised, slow?.serialised];
  assertEquals(before, [3, 3], "each viewer's first sending is its own");
  (fast ?? fail()).value = 2;
  for (const viewer of viewers) assertEquals(await viewer.next(), 'event:fast\ndata:{"value":2}\n\n');
  assertEquals([fast?.serialised, slow?.serialised], [4, 3]);
});

Deno.test("Feed does nothing while nobody looks, neither before nor after somebody does", async () => {
  const { feed, parts: [fast], calls } = testFeed();
  const part = fast ?? fail();
  part.value++;
  await delay(5 * SEND_MS);
  assertEquals([calls, part.serialised], [[], 0]);
  {
    await using viewer = new Viewer(feed);
    await viewer.next();
    await until(() => calls.length > 3, "it sends while somebody looks");
  }
  await until(() => feed.viewers === 0, "it has left");
  const before = [calls.length, part.serialised];
  part.value++;
  await delay(5 * SEND_MS);
  assertEquals([calls.length, part.serialised], before);
  // The test itself would fail if a timer ran on.
});

Deno.test("Feed has a limit of viewers, and room again when one leaves", async () => {
  const { feed } = testFeed();
  const streams = Array.from({ length: VIEWER_LIMIT }, () => feed.open() ?? fail("There is room"));
  assertEquals(feed.open(), undefined);
  await streams[0]?.cancel();
  await until(() => feed.viewers === VIEWER_LIMIT - 1, "a viewer has left");
  await (feed.open() ?? fail("There is room again")).cancel();
  for (const stream of streams.slice(1)) await stream.cancel();
  await until(() => feed.viewers === 0, "all have left");
});

Deno.test("Feed keeps nothing for a viewer that does not read, and sends it the present when it reads again", async () => {
  const { feed, parts: [fast], calls } = testFeed();
  const part = fast ?? fail();
  await using viewer = new Viewer(feed);
  for (const _ of [1, 2]) await viewer.next();
  const enough = calls.length + 30;
  while (calls.length < enough) {
    part.value++;
    await delay(1);
  }
  const kept: string[] = [];
  const last = `"value":${part.value}`;
  do kept.push(await viewer.next() ?? fail()); while (!kept.at(-1)?.includes(last));
  assert(kept.length <= 5, `${kept.length} events were kept`);
});

Deno.test("Feed gives up a viewer that takes nothing for too long", async () => {
  const { feed } = testFeed({ stalledMs: 4 * SEND_MS, parts: [1, 2, 3, 4, 5].map((n) => new TestPart(String(n))) });
  const stream = feed.open() ?? fail();
  await until(() => feed.viewers === 0, "the viewer is given up");
  await assertRejects(async () => {
    for await (const _ of stream);
  }, "takes nothing");
});

Deno.test("Feed ends all streams on demand", async () => {
  const { feed } = testFeed();
  const viewers = [new Viewer(feed), new Viewer(feed)];
  feed.end();
  assertEquals(feed.viewers, 0);
  for (const viewer of viewers) {
    for (const _ of [1, 2]) assert(await viewer.next() !== undefined, "what was sent before comes first");
    assertEquals(await viewer.next(), undefined);
  }
});

Deno.test("Feed survives an exception of a part, and goes on sending", async () => {
  const { feed, parts: [fast], calls } = testFeed();
  const part = fast ?? fail();
  const { content } = part;
  await using viewer = new Viewer(feed);
  for (const _ of [1, 2]) await viewer.next();
  part.content = () => {
    throw new Error("Broken");
  };
  part.value = 2;
  await until(() => calls.includes("Error: Broken"), "the exception is reported");
  part.content = content;
  assertEquals(await viewer.next(), 'event:fast\ndata:{"value":2}\n\n');
});
