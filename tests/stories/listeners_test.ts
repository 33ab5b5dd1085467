/** The same stories over both listeners: a client cannot tell them apart. */

import { assert, assertEquals, fail } from "@std/assert";
import { WEB_SERVERS } from "../../lib/settings/settings.ts";
import { type FakeOllama, startFakeOllama } from "../fake_ollama/mod.ts";
import { latin1 } from "../fake_ollama/wire.ts";
import { answering, CHAT, delay, Gate, startExporterOn, until } from "../support/helpers.ts";
import { ask, RawClient, valuesOf } from "../support/raw_client.ts";

const MEBIBYTE = 1024 * 1024;
/** More bytes than the kernel buffers between client, exporter and upstream; far fewer than are offered. */
const PLATEAU_BYTES = 64 * MEBIBYTE;
const OFFERED_BYTES = 256 * MEBIBYTE;

const REPETITIONS = 8;
/** Sizes of requests: in one packet, longer than the first read of `Deno.serve`, in many packets. */
const PADDINGS = [0, 1500, 100_000, 2_000_000, 8_000_000];

const BLOB = `/api/blobs/sha256:${"0".repeat(64)}`;
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** Returns a chat request somewhat longer than this many characters. */
function padded(characters: number): string {
  return JSON.stringify({ ...CHAT, padding: "x".repeat(characters) });
}

/** Returns a body in one chunk. */
function chunked(bytes: Uint8Array): Uint8Array {
  const encoder = new TextEncoder();
  const parts = [encoder.encode(`${bytes.length.toString(16)}\r\n`), bytes, encoder.encode("\r\n0\r\n\r\n")];
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const part of parts) {
    whole.set(part, end);
    end += part.length;
  }
  return whole;
}

/** Closes the client's connection, and waits until the upstream's is closed. */
async function leaves(client: RawClient, fake: FakeOllama): Promise<void> {
  const request = fake.requests.filter(({ method }) => method === "POST").at(-1) ?? fail("There was no request");
  client.close();
  await fake.waitForAbort(request);
}

for (const server of WEB_SERVERS) {
  Deno.test(`createExporter() over ${server} forwards and measures a chat, streamed or not`, async () => {
    await using fake = await startFakeOllama({ startMs: 0 });
    await using exporter = await startExporterOn(server, fake);
    for (const [index, stream] of [true, false].entries()) {
      const body = JSON.stringify({ ...CHAT, stream });
      const direct = await ask(fake.port, "POST /api/chat", [], body);
      const response = await ask(exporter.port, "POST /api/chat", [], body);
      assertEquals([response.status, response.body], [200, direct.body]);
      const kept = ({ headers }: typeof direct): string[] =>
        headers.map(([name, value]) => `${name}: ${value}`.toLowerCase()).filter((line) => !line.startsWith("date"));
      assertEquals(kept(response).sort(), kept(direct).sort());
      const { outcome, firstOutputSeconds, report } = await exporter.observation(index + 1);
      assertEquals([outcome, firstOutputSeconds !== undefined, report.promptTokens], ["ok", stream, 26]);
    }
    assertEquals((await exporter.scrape()).value("ollama_requests_total", { model: "llama3.2:latest" }), 2);
  });

  Deno.test(`createExporter() over ${server} keeps bytes and framing of an upload`, async () => {
    await using fake = await startFakeOllama({ script: answering(OK) });
    await using exporter = await startExporterOn(server, fake);
    const bytes = new Uint8Array(300_000).map((_, index) => (index * 7919) >> 3);
    for (const path of ["/api/chat", BLOB, "/unknown"]) {
      await ask(exporter.port, `POST ${path}`, [], bytes);
      assertEquals(latin1(fake.lastRequest().body), latin1(bytes), path);
      assertEquals(fake.lastRequest().headers("content-length"), [String(bytes.length)], path);
      await ask(exporter.port, `POST ${path}`, ["Transfer-Encoding: chunked"], "3\r\none\r\n3;x=y\r\ntwo\r\n0\r\n\r\n");
      assertEquals([fake.lastRequest().text, fake.lastRequest().headers("content-length")], ["onetwo", []], path);
    }
  });

  Deno.test(`createExporter() over ${server} keeps the bytes of an upload that the upstream reads late`, async () => {
    await using fake = await startFakeOllama({
      script: async (_, connection) => {
        await connection.readBodyChunk();
        await delay(200);
        await connection.readBody();
        await connection.writeLast(OK);
        return true;
      },
    });
    await using exporter = await startExporterOn(server, fake);
    const bytes = new Uint8Array(12 * MEBIBYTE).map((_, index) => (index * 7919) >> 3);
    for (const framing of ["length", "chunked"]) {
      const head = framing === "chunked" ? ["Transfer-Encoding: chunked"] : [];
      const body = framing === "chunked" ? chunked(bytes) : bytes;
      assertEquals((await ask(exporter.port, `POST ${BLOB}`, head, body)).status, 200);
      assertEquals(fake.lastRequest().bodyLength, bytes.length, framing);
      assert(fake.lastRequest().body.every((byte, index) => byte === bytes[index]), framing);
    }
  });

  Deno.test(`createExporter() over ${server} keeps the length of responses without a body`, async () => {
    for (const [line, head] of [["HEAD /x", "200 OK\r\nContent-Length: 12345"], ["GET /x", "204 No Content"]]) {
      await using fake = await startFakeOllama({ script: answering(`HTTP/1.1 ${head}\r\n\r\n`) });
      await using exporter = await startExporterOn(server, fake);
      const response = await ask(exporter.port, line ?? "");
      assertEquals(valuesOf(response, "content-length"), head?.includes("12345") ? ["12345"] : []);
      assertEquals(valuesOf(response, "transfer-encoding"), []);
    }
  });

  Deno.test(`createExporter() over ${server} answers 100-continue, and forwards a response before the upload has ended`, async () => {
    await using fake = await startFakeOllama({
      script: async (_, connection) => {
        await connection.readBodyChunk();
        await connection.write("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        await connection.readBody();
      },
    });
    await using exporter = await startExporterOn(server, fake);
    using client = await RawClient.connect(exporter.port);
    await client.send(
      `POST ${BLOB} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n`,
    );
    await client.sees("HTTP/1.1 100 Continue\r\n\r\n");
    await client.send("beginning");
    const { status, body } = await client.response();
    assertEquals([status, body], [413, "no"]);
  });

  Deno.test(`createExporter() over ${server} aborts the client's response where the upstream's is aborted`, async () => {
    const half = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n40\r\nnot all";
    const short = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    for (const answer of [half, short]) {
      await using fake = await startFakeOllama({ script: answering(answer, "close") });
      await using exporter = await startExporterOn(server, fake);
      const direct = await ask(fake.port, "POST /api/chat", [], padded(0));
      const { body, end } = await ask(exporter.port, "POST /api/chat", [], padded(0));
      assertEquals([body, end], [direct.body, "broken"]);
      assertEquals((await exporter.observation()).outcome, "upstream_broken");
    }
  });

  Deno.test(`createExporter() over ${server} aborts the upstream request if the client disconnects before the response`, async () => {
    await using fake = await startFakeOllama({ hang: true });
    await using exporter = await startExporterOn(server, fake);
    // Deno.serve does not report this for longer requests; deno_listener_test.ts fails once it does.
    const paddings = server === "node" ? PADDINGS : [0];
    for (const [index, padding] of paddings.flatMap((padding) => Array(REPETITIONS).fill(padding)).entries()) {
      const client = await RawClient.connect(exporter.port);
      await client.request("POST /api/chat", [], padded(padding));
      await until(() => fake.requests[index]?.bodyComplete === true, "Ollama has the request");
      await leaves(client, fake);
      const { outcome, status } = await exporter.observation(index + 1);
      assertEquals([outcome, status], ["client_closed", 499], `${padding}`);
    }
  });

  Deno.test(`createExporter() over ${server} aborts the upstream request if the client disconnects within response or upload`, async () => {
    await using fake = await startFakeOllama({ tokens: 3000, tokenDelayMs: 1 });
    await using exporter = await startExporterOn(server, fake);
    for (const padding of PADDINGS) {
      const client = await RawClient.connect(exporter.port);
      await client.request("POST /api/chat", [], padded(padding));
      await client.sees(" there");
      await leaves(client, fake);
    }
    for (const framing of ["Content-Length: 1000000", "Transfer-Encoding: chunked"]) {
      const client = await RawClient.connect(exporter.port);
      const before = fake.requests.length;
      await client.send(`POST ${BLOB} HTTP/1.1\r\nHost: x\r\n${framing}\r\n\r\na\r\n0123456789\r\n`);
      await until(() => (fake.requests[before]?.bodyLength ?? 0) > 0, "Ollama has the beginning");
      await leaves(client, fake);
    }
    await exporter.observation(PADDINGS.length + 2);
    assertEquals(new Set(exporter.observations.map(({ outcome }) => outcome)), new Set(["client_closed"]));
  });

  Deno.test(`createExporter() over ${server} applies backpressure of a slow client to the upstream`, async () => {
    let written = 0;
    await using fake = await startFakeOllama({
      script: async (request, connection) => {
        if (request.path !== "/slow") return;
        await connection.write(`HTTP/1.1 200 OK\r\nContent-Length: ${OFFERED_BYTES}\r\n\r\n`);
        const piece = new Uint8Array(MEBIBYTE);
        for (written = 0; written < OFFERED_BYTES; written += piece.length) await connection.write(piece);
      },
    });
    await using exporter = await startExporterOn(server, fake);
    using client = await RawClient.connect(exporter.port);
    await client.request("GET /slow");
    await client.sees("\r\n\r\n");
    let before = -1;
    // Paused means that nothing is written for a while, however long it takes to fill the buffers.
    while (written !== before) {
      before = written;
      await delay(300);
    }
    assert(written < PLATEAU_BYTES, `${written} bytes were taken from the upstream for a client that does not read`);
    client.close();
    assertEquals((await exporter.observation()).outcome, "client_closed");
  });

  Deno.test(`createExporter() over ${server} applies backpressure of the upstream to an upload`, async () => {
    using gate = new Gate();
    await using fake = await startFakeOllama({
      script: async (_, connection) => {
        await gate.opened;
        await connection.readBody();
        await connection.writeLast(OK);
        return true;
      },
    });
    await using exporter = await startExporterOn(server, fake);
    using client = await RawClient.connect(exporter.port);
    await client.send(`POST ${BLOB} HTTP/1.1\r\nHost: x\r\nContent-Length: ${OFFERED_BYTES}\r\n\r\n`);
    let sent = 0;
    const piece = new Uint8Array(MEBIBYTE);
    const sending = (async () => {
      for (; sent < OFFERED_BYTES; sent += piece.length) await client.send(piece);
    })();
    let before = -1;
    while (sent !== before) {
      before = sent;
      await delay(300);
    }
    assert(sent < PLATEAU_BYTES, `${sent} bytes were taken from the client for an upstream that does not read`);
    gate.open();
    await sending;
    assertEquals((await client.response()).body, "ok");
    assertEquals((await exporter.observation()).requestBytes, OFFERED_BYTES);
  });
}
