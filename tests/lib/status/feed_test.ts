/** Viewers are sent what has changed; without viewers nothing is done. */

import { assert, assertEquals, assertRejects, fail } from "@std/assert";
import { Feed, type FeedOptions, type Part, VIEWER_LIMIT } from "../../../lib/status/feed.ts";
import { delay, until } from "../../support/helpers.ts";

const INTERVAL_MS = 5;

/** A part whose version a test sets, and which counts how often it is serialized. */
class TestPart implements Part {
  readonly event: string;
  value = 1;
  serialized = 0;

  constructor(event: string) {
    this.event = event;
  }

  version(): number {
    return this.value;
  }

  content(): unknown {
    this.serialized++;
    return { value: this.value };
  }
}

/** Reads events as text. The stream is canceled at the end of the block. */
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

/** A feed with a short interval, and the callbacks it has called. */
function testFeed(options: Partial<FeedOptions> = {}): { feed: Feed; parts: TestPart[]; calls: string[] } {
  const parts = [new TestPart("fast"), new TestPart("slow")];
  const calls: string[] = [];
  const feed = new Feed({
    parts,
    beforeSend: () => void calls.push("beforeSend"),
    internalError: (error) => void calls.push(String(error)),
    intervalMs: INTERVAL_MS,
    ...options,
  });
  return { feed, parts, calls };
}

Deno.test("Feed sends all parts to a new viewer, then those that have changed", async () => {
  const { feed, parts: [fast] } = testFeed();
  await using viewer = new Viewer(feed);
  assertEquals(await viewer.next(), 'event:fast\ndata:{"value":1}\n\n');
  assertEquals(await viewer.next(), 'event:slow\ndata:{"value":1}\n\n');
  (fast ?? fail()).value = 2;
  assertEquals(await viewer.next(), 'event:fast\ndata:{"value":2}\n\n');
  (fast ?? fail()).value = 3;
  assertEquals(await viewer.next(), 'event:fast\ndata:{"value":3}\n\n', "the other one has not changed");
});

Deno.test("Feed serializes a part once for all viewers", async () => {
  const { feed, parts: [fast, slow] } = testFeed();
  await using first = new Viewer(feed);
  await using second = new Viewer(feed);
  await using third = new Viewer(feed);
  const viewers = [first, second, third];
  for (const viewer of viewers) for (const _ of [1, 2]) await viewer.next();
  const before = [fast?.serialized, slow?.serialized];
  assertEquals(before, [3, 3], "each viewer has a first send of its own");
  (fast ?? fail()).value = 2;
  for (const viewer of viewers) assertEquals(await viewer.next(), 'event:fast\ndata:{"value":2}\n\n');
  assertEquals([fast?.serialized, slow?.serialized], [4, 3]);
});

Deno.test("Feed does nothing without viewers, before the first and after the last", async () => {
  const { feed, parts: [fast], calls } = testFeed();
  const part = fast ?? fail();
  part.value++;
  await delay(5 * INTERVAL_MS);
  assertEquals([calls, part.serialized], [[], 0]);
  {
    await using viewer = new Viewer(feed);
    await viewer.next();
    await until(() => calls.length > 3, "it sends while there is a viewer");
  }
  await until(() => feed.viewers === 0, "it has disconnected");
  const before = [calls.length, part.serialized];
  part.value++;
  await delay(5 * INTERVAL_MS);
  assertEquals([calls.length, part.serialized], before);
  // A timer that is still running would fail the test.
});

Deno.test("Feed limits the number of viewers, and accepts another when one disconnects", async () => {
  const { feed } = testFeed();
  const streams = Array.from({ length: VIEWER_LIMIT }, () => feed.open() ?? fail("There is room"));
  assertEquals(feed.open(), undefined);
  await streams[0]?.cancel();
  await until(() => feed.viewers === VIEWER_LIMIT - 1, "a viewer has disconnected");
  await (feed.open() ?? fail("There is room again")).cancel();
  for (const stream of streams.slice(1)) await stream.cancel();
  await until(() => feed.viewers === 0, "all have disconnected");
});

Deno.test("Feed queues nothing for a viewer that does not read, and sends it the current content later", async () => {
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

Deno.test("Feed disconnects a viewer that reads nothing for too long", async () => {
  const { feed } = testFeed({
    stallTimeoutMs: 4 * INTERVAL_MS,
    parts: [1, 2, 3, 4, 5].map((n) => new TestPart(String(n))),
  });
  const stream = feed.open() ?? fail();
  await until(() => feed.viewers === 0, "the viewer is disconnected");
  await assertRejects(async () => {
    for await (const _ of stream);
  }, "Viewer stalled");
});

Deno.test("Feed.end() ends all streams", async () => {
  const { feed } = testFeed();
  const viewers = [new Viewer(feed), new Viewer(feed)];
  feed.end();
  assertEquals(feed.viewers, 0);
  for (const viewer of viewers) {
    for (const _ of [1, 2]) assert(await viewer.next() !== undefined, "earlier events come first");
    assertEquals(await viewer.next(), undefined);
  }
});

Deno.test("Feed reports an exception of a part and keeps sending", async () => {
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
