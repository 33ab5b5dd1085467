/** Bodies of requests: what is read of them, what is asked for in them, and that all others go on as they come. */

import { assert, assertEquals, assertLessOrEqual, assertRejects } from "@std/assert";
import { join } from "../../../lib/bytes/byte_queue.ts";
import { type ClientRequest, contentLength } from "../../../lib/http.ts";
import { HELD_LIMIT_BYTES, READ_LIMIT_BYTES } from "../../../lib/proxy/held_body.ts";
import { RequestBodies, type RequestBody, UnreadableBody } from "../../../lib/proxy/request_body.ts";
import { LoopTicks } from "../../../lib/proxy/gather.ts";
import { type Endpoint, endpointOf } from "../../../lib/reading/endpoints.ts";
import { bytesOf, turn, turns } from "../../support/fixtures.ts";

const MEBIBYTE = 1024 * 1024;
const CHAT = "/v1/chat/completions";
const STREAMED = '{"model":"llama3.2","stream":true}';
const ASKED = '{"stream_options":{"include_usage":true},"model":"llama3.2","stream":true}';

type ByteStream = ReadableStream<Uint8Array<ArrayBuffer>>;

/** Reads a body as `fetch` does: a chunk is not needed after the next read. */
async function sentBytes(body: ByteStream): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk.slice());
  return join(chunks);
}

/** What a client sends, and how much of it has been taken. */
interface Upload {
  readonly request: ClientRequest;
  /** Chunks that were taken. */
  readonly taken: () => number;
  /** Sends another chunk of an upload that waits for it. */
  readonly send: (chunk: string | undefined) => void;
}

/** A request as a listener gives it. With a `length` its body has that; otherwise it comes in chunks of their own. */
function uploadOf(chunks: Iterable<Uint8Array<ArrayBuffer>>, headers: Record<string, string>, waits = false): Upload {
  const source = chunks[Symbol.iterator]();
  let taken = 0;
  let controller: ReadableByteStreamController | undefined;
  const body: ByteStream = new ReadableStream({
    type: "bytes",
    start(c): void {
      controller = c;
    },
    pull(c): void {
      const { done, value } = source.next();
      if (!done) {
        taken++;
        c.enqueue(value);
      } else if (!waits) {
        c.close();
        c.byobRequest?.respond(0);
      }
    },
  });
  const request = {
    method: "POST",
    url: "http://localhost/",
    headers: new Headers(headers),
    body,
    signal: new AbortController().signal,
    bytes: () => collect(body),
  };
  const send = (chunk: string | undefined) => {
    if (chunk === undefined) controller?.error(new Error("The client left"));
    else controller?.enqueue(bytesOf(chunk));
  };
  return { request, taken: () => taken, send };
}

/** A request with a body of known length. */
function whole(body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}): ClientRequest {
  const bytes = typeof body === "string" ? bytesOf(body) : body;
  return uploadOf([bytes], { "content-length": String(bytes.length), ...headers }).request;
}

/** A request with a body in chunks. */
function chunked(...chunks: string[]): ClientRequest {
  return uploadOf(chunks.map(bytesOf), { "transfer-encoding": "chunked" }).request;
}

async function collect(stream: ByteStream): Promise<Uint8Array<ArrayBuffer>> {
  return await new Response(stream).bytes();
}

/** What reads bodies; an exception of ours fails the test. */
function bodies(openaiStreamUsage = true): RequestBodies {
  return new RequestBodies({
    openaiStreamUsage,
    ticks: new LoopTicks(),
    internalError(error): void {
      throw error;
    },
  });
}

function endpointAt(path = CHAT): Endpoint {
  return endpointOf("POST", path);
}

async function textOf({ body }: RequestBody): Promise<string> {
  // A blob of known length: its stream, since `Response` would take its content as empty.
  const stream = body instanceof Blob ? body.stream() : new Response(body).body;
  return new TextDecoder().decode(await sentBytes(stream ?? new ReadableStream()));
}

Deno.test("RequestBodies requests usage in a body with a length, which gets another length", async () => {
  const outgoing = await bodies().read(whole(STREAMED), endpointAt());
  assert(outgoing.body instanceof Uint8Array);
  assertEquals(await textOf(outgoing), ASKED);
  assert(outgoing.hasRequestedUsage);
  assertEquals(outgoing.facts.bytes, STREAMED.length);
  assertEquals(outgoing.facts.model, "llama3.2");
});

Deno.test("RequestBodies requests usage in a chunked body, which stays chunked", async () => {
  const outgoing = await bodies().read(
    chunked(STREAMED.slice(0, 5), STREAMED.slice(5)),
    endpointAt(),
  );
  assert(outgoing.body instanceof ReadableStream);
  assertEquals(await textOf(outgoing), ASKED);
  assert(outgoing.hasRequestedUsage);
  assertEquals(outgoing.facts.bytes, STREAMED.length);
  assertEquals(outgoing.facts.model, "llama3.2");
});

/** Requests whose body goes on as it is, and the model that is read of it all the same. */
const UNASKED: Record<string, { body?: string; path?: string; asks?: boolean; model: string | undefined }> = {
  "if nobody wants it": { asks: false, model: "llama3.2" },
  "if the client asks itself": { body: ASKED, model: "llama3.2" },
  "of a request that is not streamed": { body: '{"model":"m"}', model: "m" },
  "that is no JSON": { body: "\x28\xb5\x2f\xfd", model: undefined },
  "on a native route": { path: "/api/chat", model: "llama3.2" },
  "on /v1/responses": { path: "/v1/responses", model: "llama3.2" },
  "on /v1/messages": { path: "/v1/messages", model: "llama3.2" },
};

for (const [name, { body = STREAMED, path, asks = true, model }] of Object.entries(UNASKED)) {
  Deno.test(`RequestBodies forwards a body unchanged ${name}, and reads its model`, async () => {
    for (const request of [whole(body), chunked(...body)]) {
      const outgoing = await bodies(asks).read(request, endpointAt(path));
      assertEquals(await textOf(outgoing), body);
      assert(!outgoing.hasRequestedUsage);
      assertEquals(outgoing.facts.bytes, bytesOf(body).length);
      assertEquals(outgoing.facts.model, model);
    }
  });
}

/** Requests whose body is not read at all. */
const UNREAD: Record<string, { request: () => ClientRequest; path?: string }> = {
  "that is compressed": { request: () => whole(STREAMED, { "content-encoding": "zstd" }) },
  "of a route that is not measured": { request: () => whole("blob"), path: "/api/blobs/sha256:0" },
  "of a transfer": { request: () => whole('{"model":"m"}'), path: "/api/pull" },
  "of an upload of sound": { request: () => whole("--x"), path: "/v1/audio/transcriptions" },
  "over the limit": { request: () => whole(new Uint8Array(READ_LIMIT_BYTES + 1)) },
};

/** The body goes on as it comes, with the length that the client told. */
function assertUnread({ body, hasRequestedUsage }: RequestBody, { headers }: ClientRequest): Blob {
  assert(body instanceof Blob);
  assertEquals([body.size, hasRequestedUsage], [Number(headers.get("content-length")), false]);
  return body;
}

for (const [name, { request, path }] of Object.entries(UNREAD)) {
  Deno.test(`RequestBodies streams a body ${name}, unread`, async () => {
    const client = request();
    const outgoing = await bodies().read(client, endpointAt(path));
    const sent = assertUnread(outgoing, client);
    assertEquals(outgoing.facts.bytes, 0);
    assertEquals(await sentBytes(sent.stream()), await request().bytes());
    assertEquals([outgoing.facts.bytes, outgoing.facts.model], [sent.size, undefined]);
  });
}

Deno.test("RequestBodies returns no body for a request that has none", async () => {
  const none = { ...whole(""), body: null };
  assertEquals((await bodies().read(none, endpointAt())).body, null);
  assertEquals((await bodies().read({ ...none, headers: new Headers() }, endpointAt())).body, null);
});

Deno.test("RequestBodies forwards a body that no header announces, as in HTTP/2", async () => {
  const { body } = await bodies().read(uploadOf([bytesOf("unannounced")], {}).request, endpointAt("/unknown"));
  assert(body instanceof ReadableStream);
  assertEquals(await collect(body), bytesOf("unannounced"));
});

Deno.test("RequestBodies reads a body at the limit", async () => {
  const body = bytesOf(STREAMED.replace("}", `,"x":"${"x".repeat(READ_LIMIT_BYTES - STREAMED.length - 7)}"}`));
  assertEquals(body.length, READ_LIMIT_BYTES);
  assert((await bodies().read(whole(body), endpointAt())).hasRequestedUsage);
});

Deno.test("RequestBodies streams a chunked body that need not be changed", async () => {
  const { request, send } = uploadOf([bytesOf('{"model":')], { "transfer-encoding": "chunked" }, true);
  const outgoing = await bodies().read(request, endpointAt("/api/chat"));
  const { body } = outgoing;
  assert(body instanceof ReadableStream);
  const reader = body.getReader();
  assertEquals((await reader.read()).value, bytesOf('{"model":'));
  assertEquals(outgoing.facts.model, undefined);
  send('"m"}');
  assertEquals((await reader.read()).value, bytesOf('"m"}'));
  await reader.cancel();
});

Deno.test("RequestBodies streams a chunked body that turns out to be over the limit, and loses no byte", async () => {
  function* chunks(): Generator<Uint8Array<ArrayBuffer>> {
    yield bytesOf(STREAMED.replace("}", ',"x":"'));
    for (let index = 0; index < 40; index++) yield new Uint8Array(MEBIBYTE / 2).fill(97 + index % 26);
    yield bytesOf('"}');
  }
  const { request, taken } = uploadOf(chunks(), { "transfer-encoding": "chunked" });
  const outgoing = await bodies().read(request, endpointAt());
  assert(!outgoing.hasRequestedUsage);
  assertLessOrEqual(taken(), READ_LIMIT_BYTES / (MEBIBYTE / 2) + 3);
  assert(outgoing.body instanceof ReadableStream);
  const sent = new TextDecoder().decode(await sentBytes(outgoing.body));
  assert(sent === await new Response(ReadableStream.from(chunks())).text());
  assertEquals(outgoing.facts.bytes, sent.length);
});

Deno.test("RequestBodies holds bodies until they are sent, within a limit of them all", async () => {
  const reader = bodies();
  // As long as the limit once usage is requested.
  const length = READ_LIMIT_BYTES - (ASKED.length - STREAMED.length);
  const asks = async (): Promise<RequestBody> => await reader.read(whole(padded(length)), endpointAt());
  const held = await Promise.all(Array.from({ length: HELD_LIMIT_BYTES / READ_LIMIT_BYTES }, asks));
  assert(held.every(({ hasRequestedUsage }) => hasRequestedUsage));
  const next = await asks();
  assert(!next.hasRequestedUsage);
  assertEquals((await textOf(next)).length, length);
  const [sent, unsent] = held;
  assert(sent !== undefined && unsent !== undefined);
  assertEquals((await textOf(sent)).length, READ_LIMIT_BYTES);
  assert((await asks()).hasRequestedUsage);
  // It was released when it was sent: nothing becomes free.
  sent.release();
  assert(!(await asks()).hasRequestedUsage);
  unsent.release();
  assert((await asks()).hasRequestedUsage);
});

Deno.test("RequestBodies counts what is kept, not what is announced", async () => {
  const reader = bodies();
  const announced = () => uploadOf([], { "content-length": String(READ_LIMIT_BYTES) }, true);
  const uploads = Array.from({ length: 2 * HELD_LIMIT_BYTES / READ_LIMIT_BYTES }, announced);
  const reads = uploads.map(({ request }) => assertRejects(() => reader.read(request, endpointAt()), UnreadableBody));
  assert((await reader.read(whole(padded(READ_LIMIT_BYTES)), endpointAt())).hasRequestedUsage);
  for (const { send } of uploads) send(undefined);
  await Promise.all(reads);
});

/** Uploads that have sent all but their end. */
const NEARLY_SENT: Record<string, { headers: Record<string, string>; path: string }> = {
  "with a length": { headers: { "content-length": String(READ_LIMIT_BYTES) }, path: CHAT },
  "in chunks, held": { headers: { "transfer-encoding": "chunked" }, path: CHAT },
  "in chunks, streamed": { headers: { "transfer-encoding": "chunked" }, path: "/api/chat" },
};

for (const [name, { headers, path }] of Object.entries(NEARLY_SENT)) {
  Deno.test(`RequestBodies counts bodies ${name} while they arrive, and no longer once they broke off`, async () => {
    const reader = bodies();
    const upload = () => uploadOf([new Uint8Array(READ_LIMIT_BYTES - 1)], headers, true);
    const uploads = Array.from({ length: HELD_LIMIT_BYTES / READ_LIMIT_BYTES }, upload);
    const results = uploads.map(({ request }) =>
      // A body that is streamed fails where it is read.
      reader.read(request, endpointAt(path)).then(textOf).catch(() => "broken")
    );
    for (const { taken } of uploads) while (taken() === 0) await turn();
    await turns(50);
    assert(!(await reader.read(whole(padded(1024)), endpointAt())).hasRequestedUsage);
    for (const { send } of uploads) send(undefined);
    assertEquals(new Set(await Promise.all(results)), new Set(["broken"]));
    assert((await reader.read(whole(padded(1024)), endpointAt())).hasRequestedUsage);
  });
}

Deno.test("RequestBodies counts the bytes that came of a body that breaks off", async () => {
  for (const headers of [{ "content-length": "999999" }, { "transfer-encoding": "chunked" }]) {
    const upload = uploadOf([bytesOf("ten bytes.")], headers as Record<string, string>, true);
    const read = assertRejects(() => bodies().read(upload.request, endpointAt()), UnreadableBody, "The client left");
    while (upload.taken() === 0) await turn();
    upload.send(undefined);
    assertEquals((await read).bytes, 10);
  }
});

/** STREAMED with a member that makes it as long as this. */
function padded(length: number): string {
  const [before, after] = [STREAMED.replace("}", ',"x":"'), '"}'];
  return before.padEnd(length - after.length, "x") + after;
}

Deno.test("RequestBodies reads a chunked body at the limit, but none above", async () => {
  for (const excess of [0, 1]) {
    const body = padded(READ_LIMIT_BYTES + excess);
    assertEquals((await bodies().read(chunked(body), endpointAt())).hasRequestedUsage, excess === 0);
    const outgoing = await bodies().read(chunked(body), endpointAt("/api/chat"));
    await textOf(outgoing);
    assertEquals(outgoing.facts.model, excess === 0 ? "llama3.2" : undefined);
  }
});

Deno.test("contentLength() reads the length that a message tells", () => {
  const lengths: [string, number | undefined][] = [
    ["0", 0],
    ["123", 123],
    ["999999999999999", 999999999999999],
    ["", undefined],
    ["-1", undefined],
    ["1.5", undefined],
    ["1e3", undefined],
    ["3, 3", undefined],
    ["9999999999999999", undefined],
  ];
  for (const [value, length] of lengths) {
    assertEquals(contentLength(new Headers({ "content-length": value })), length, value);
  }
  assertEquals(contentLength(new Headers()), undefined);
});
