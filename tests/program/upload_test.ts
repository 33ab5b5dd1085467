/** A large chunked upload, as `ollama create` makes it: its time relative to a direct connection. */

import { assertEquals, assertLess } from "@std/assert";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Program } from "../support/program.ts";
import { RawClient } from "../support/raw_client.ts";

/** `Deno.serve` of Deno 2.9.6 takes 24 to 88 times as long as a direct connection, `node:http` 2 to 5 times. */
const MAX_RATIO = 12;
/** Maximum number of comparisons; one that passes suffices, since a busy machine can only slow things down. */
const ROUNDS = 3;

const PIECE_BYTES = 32 * 1024;
const UPLOAD_BYTES = 64 * 1024 * 1024;
const CHUNK = `${PIECE_BYTES.toString(16)}\r\n${"x".repeat(PIECE_BYTES)}\r\n`;

/** An upstream that reads a body and responds with its length. */
class Upstream implements AsyncDisposable {
  readonly #server = createServer((request, response) => {
    let bytes = 0;
    request.on("data", (chunk: Uint8Array) => void (bytes += chunk.length));
    request.on("end", () => response.end(`${bytes}`));
  });

  async listen(): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.listen(0, "127.0.0.1", resolve);
    await promise;
    return (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }
}

/** Uploads in chunks, and returns the time that it takes, in milliseconds. */
async function upload(port: number, bytes = UPLOAD_BYTES): Promise<number> {
  const chunk = new TextEncoder().encode(CHUNK);
  const startedAt = performance.now();
  using client = await RawClient.connect(port);
  await client.send("POST /api/blobs/sha256:00 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (let sent = 0; sent < bytes; sent += PIECE_BYTES) await client.send(chunk);
  await client.send("0\r\n\r\n");
  assertEquals((await client.response()).body, `${bytes}`);
  return performance.now() - startedAt;
}

/** Uploads directly and through a new program: `Deno.serve` is slow in its first upload above all. */
async function ratioOf(port: number): Promise<number> {
  await using program = new Program({ variables: { OLLAMA_HOST: `http://127.0.0.1:${port}` } });
  const programPort = await program.port();
  await program.line("Ollama is unreachable");
  const direct = await upload(port);
  return await upload(programPort) / direct;
}

Deno.test("main forwards a chunked upload in time linear in its size, over the listener that it chooses", async () => {
  await using upstream = new Upstream();
  const port = await upstream.listen();
  let ratio = Infinity;
  for (let round = 0; round < ROUNDS && ratio >= MAX_RATIO; round++) ratio = Math.min(ratio, await ratioOf(port));
  assertLess(ratio, MAX_RATIO);
});

Deno.test("main warns once of chunked uploads over 64 MiB where Deno.serve is forced", async () => {
  await using upstream = new Upstream();
  const variables = { OLLAMA_HOST: `http://127.0.0.1:${await upstream.listen()}`, WEB_SERVER: "deno" };
  await using program = new Program({ variables });
  const port = await program.port();
  const warnings = (): string[] => program.lines.filter((line) => line.includes("Large chunked upload"));
  await upload(port);
  assertEquals(warnings(), []);
  for (let round = 0; round < 2; round++) await upload(port, UPLOAD_BYTES + PIECE_BYTES);
  await program.line('level=WARN msg="Large chunked upload');
  assertEquals(warnings().length, 1);
  assertEquals(warnings()[0]?.endsWith(" setting=WEB_SERVER"), true);
});
