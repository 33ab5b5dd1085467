/** Short bodies by themselves: whole where they are there, and otherwise a stream that loses nothing. */

import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { receive } from "../../../lib/proxy/short_body.ts";
import { bytesOf, turn } from "../../support/fixtures.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A body as `fetch` has it, and what moves it. */
class Body {
  readonly stream: ReadableStream<Bytes>;
  #controller!: ReadableByteStreamController;
  cancelled: unknown;

  constructor() {
    this.stream = new ReadableStream({
      type: "bytes",
      start: (controller) => {
        this.#controller = controller;
      },
      cancel: (reason) => {
        this.cancelled = reason ?? "without a reason";
      },
    }) as ReadableStream<Bytes>;
  }

  send(text: string): void {
    this.#controller.enqueue(bytesOf(text));
  }

  end(): void {
    this.#controller.close();
    this.#controller.byobRequest?.respond(0);
  }

  breakOff(): void {
    this.#controller.error(new Error("gone"));
  }
}

async function streamOf(received: ReturnType<typeof receive>): Promise<ReadableStreamDefaultReader<Bytes>> {
  const stream = await received;
  assertInstanceOf(stream, ReadableStream);
  return stream.getReader();
}

async function textOf(reader: ReadableStreamDefaultReader<Bytes>): Promise<string> {
  const { done, value } = await reader.read();
  return done ? "done" : new TextDecoder().decode(value);
}

Deno.test("receive() returns the bytes of a body that is there, and frees its connection", async () => {
  const body = new Body();
  body.send("whole");
  assertEquals(await receive(body.stream, 5), bytesOf("whole"));
  assertEquals(body.cancelled, "without a reason");
});

Deno.test("receive() returns an empty body as bytes", async () => {
  const body = new Body();
  assertEquals(await receive(body.stream, 0), new Uint8Array(0));
  assertEquals(body.cancelled, "without a reason");
});

Deno.test("receive() waits a turn of the event loop for a body", async () => {
  const body = new Body();
  const received = receive(body.stream, 5);
  await turn();
  body.send("whole");
  assertEquals(await received, bytesOf("whole"));
});

Deno.test("receive() returns a stream of a body that is not there as a whole", async () => {
  for (const parts of [["whole"], ["wh", "ole"], ["w", "h", "o", "l", "e"]]) {
    for (const isThere of [false, true]) {
      const body = new Body();
      if (isThere && parts.length > 1) body.send(parts[0] ?? "");
      const reader = await streamOf(receive(body.stream, 5));
      if (!isThere || parts.length === 1) body.send(parts[0] ?? "");
      assertEquals(await textOf(reader), parts[0]);
      for (const part of parts.slice(1)) {
        const reading = textOf(reader);
        body.send(part);
        assertEquals(await reading, part);
      }
      const end = textOf(reader);
      body.end();
      assertEquals(await end, "done");
    }
  }
});

Deno.test("receive() returns a stream that breaks off where the body does", async () => {
  for (const sent of ["", "wh"]) {
    const body = new Body();
    if (sent !== "") body.send(sent);
    const reader = await streamOf(receive(body.stream, 5));
    if (sent !== "") assertEquals(await textOf(reader), sent);
    body.breakOff();
    await assertRejects(() => reader.read(), Error, "gone");
  }
});

Deno.test("receive() returns a stream of a body that is broken already", async () => {
  const body = new Body();
  const received = receive(body.stream, 5);
  body.breakOff();
  await assertRejects(async () => (await streamOf(received)).read(), Error, "gone");
});

Deno.test("receive() cancels the body when its stream is cancelled, even while it waits", async () => {
  for (const waits of [false, true]) {
    const body = new Body();
    const reader = await streamOf(receive(body.stream, 5));
    const reading = waits ? reader.read() : undefined;
    await reader.cancel("left");
    assertEquals(body.cancelled, "left");
    assertEquals((await reading)?.done ?? true, true);
  }
});
