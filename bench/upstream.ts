/**
 * The bench's upstream: as much of Ollama as the load needs, on bare TCP, so that it is never the bottleneck.
 *
 *     deno run --allow-net --unstable-net upstream.ts PORT
 *
 * Prints `listening PORT`; ends when its standard input ends. Several processes can share a port.
 *
 * @module
 */

import { type Dialect, encodeStream, type Frames, jsonResponse, modelsBody, VERSION_BODY } from "./frames.ts";
import { writeLine } from "./job.ts";
import { Pacer } from "./pacer.ts";

/** Tokens that are written at once where a stream is not paced. */
const TOKENS_PER_WRITE = 8;

/** Longest head of a request. */
const HEAD_LIMIT_BYTES = 16 * 1024;

/** Models that `/api/ps` and `/api/tags` list. */
const MODELS = 100;

const DIALECTS: Readonly<Record<string, Dialect>> = {
  "/api/chat": "native",
  "/v1/chat/completions": "openai",
  "/v1/messages": "anthropic",
};

const ANSWERS: Readonly<Record<string, Uint8Array>> = {
  "/api/version": jsonResponse(VERSION_BODY),
  "/api/ps": jsonResponse(modelsBody("/api/ps", MODELS)),
  "/api/tags": jsonResponse(modelsBody("/api/tags", MODELS)),
};

const encoder = new TextEncoder();
const decoder = new TextDecoder("latin1");

const NOT_FOUND = encoder.encode("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
const CREATED = encoder.encode("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");

/** Ends a body in chunks; the chunk before it ended with the first two bytes. */
const LAST_CHUNK = "\r\n0\r\n\r\n";

/** What is written of a body of many bytes. */
const FILLER = new Uint8Array(256 * 1024).fill(120);

/** A request's head. */
interface Head {
  readonly path: string;
  readonly query: URLSearchParams;
  /** `undefined` where the body is chunked. */
  readonly contentLength: number | undefined;
}

/** What of a request's body is read. */
interface Body {
  readonly model: string;
  readonly options?: { readonly num_predict?: number; readonly pace_ms?: number };
  readonly stream_options?: { readonly include_usage?: boolean };
}

const pacer = new Pacer();
const streams = new Map<string, Frames>();
const bursts = new Map<string, Uint8Array[]>();

/** Answers the requests of one connection, one after the other. */
class Connection {
  readonly #conn: Deno.TcpConn;
  readonly #buffer = new Uint8Array(64 * 1024);
  /** Bytes that were read and not used yet. */
  #unread: Uint8Array = this.#buffer.subarray(0, 0);

  constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  async serve(): Promise<void> {
    try {
      for (let head = await this.#head(); head !== undefined; head = await this.#head()) await this.#answer(head);
    } catch {
      // The client has left; that is its right.
    }
    try {
      this.#conn.close();
    } catch {
      // It is closed already.
    }
  }

  async #answer(head: Head): Promise<void> {
    const dialect = DIALECTS[head.path];
    if (dialect !== undefined) return await this.#stream(dialect, JSON.parse(await this.#text(head)));
    if (head.path.startsWith("/api/blobs/")) {
      await this.#sink(head);
      return await this.#write(CREATED);
    }
    await this.#sink(head);
    if (head.path === "/bench/download") return await this.#download(Number(head.query.get("bytes")));
    await this.#write(ANSWERS[head.path] ?? NOT_FOUND);
  }

  async #stream(dialect: Dialect, { model, options, stream_options }: Body): Promise<void> {
    const tokens = options?.num_predict ?? 1;
    const usage = stream_options?.include_usage === true;
    const key = `${dialect} ${model} ${tokens} ${usage}`;
    let frames = streams.get(key);
    if (frames === undefined) streams.set(key, frames = encodeStream({ dialect, model, tokens, usage }));
    if (options?.pace_ms !== undefined) return await pacer.send(this.#conn, frames, tokens, options.pace_ms);
    let burst = bursts.get(key);
    if (burst === undefined) bursts.set(key, burst = encodeBurst(frames, tokens));
    for (const bytes of burst) await this.#write(bytes);
  }

  async #download(bytes: number): Promise<void> {
    const type = "application/octet-stream";
    await this.#write(
      encoder.encode(`HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nContent-Length: ${bytes}\r\n\r\n`),
    );
    for (let rest = bytes; rest > 0; rest -= FILLER.length) await this.#write(FILLER.subarray(0, rest));
  }

  /** The next request's head, or `undefined` where the client has nothing more to ask. */
  async #head(): Promise<Head | undefined> {
    let text = "";
    while (true) {
      text += decoder.decode(this.#unread);
      const end = text.indexOf("\r\n\r\n");
      if (end >= 0) {
        this.#unread = this.#unread.subarray(this.#unread.length - (text.length - end - 4));
        return parseHead(text.slice(0, end));
      }
      if (text.length > HEAD_LIMIT_BYTES) throw new Error("head too long");
      if (!await this.#read()) return undefined;
    }
  }

  /** A small body, chunked or not: JSON has no line feed that chunks could have. */
  async #text(head: Head): Promise<string> {
    let text = decoder.decode(this.#unread);
    const isWhole = (): boolean =>
      head.contentLength === undefined ? text.endsWith(LAST_CHUNK) : text.length >= head.contentLength;
    while (!isWhole()) {
      if (!await this.#read()) throw new Error("body broken off");
      text += decoder.decode(this.#unread);
    }
    this.#unread = this.#buffer.subarray(0, 0);
    return head.contentLength !== undefined ? text : text.replace(/(^|\r\n)[0-9a-f]+\r\n/gi, "").trim();
  }

  /** Reads a body and forgets it. */
  async #sink(head: Head): Promise<void> {
    let bytes = this.#unread.length;
    let end = tailOf("", this.#unread);
    while (head.contentLength === undefined ? end !== LAST_CHUNK : bytes < head.contentLength) {
      if (!await this.#read()) throw new Error("body broken off");
      bytes += this.#unread.length;
      end = tailOf(end, this.#unread);
    }
    this.#unread = this.#buffer.subarray(0, 0);
  }

  async #read(): Promise<boolean> {
    const count = await this.#conn.read(this.#buffer);
    this.#unread = this.#buffer.subarray(0, count ?? 0);
    return count !== null;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let written = 0; written < bytes.length;) written += await this.#conn.write(bytes.subarray(written));
  }
}

function tailOf(before: string, bytes: Uint8Array): string {
  return (before + decoder.decode(bytes.subarray(-LAST_CHUNK.length))).slice(-LAST_CHUNK.length);
}

function parseHead(text: string): Head {
  const [, target = "/"] = text.split(" ", 2);
  const [path = "/", query] = target.split("?");
  const length = /\r\ncontent-length: *(\d+)/i.exec(text)?.[1];
  const isChunked = /\r\ntransfer-encoding: *chunked/i.test(text);
  return { path, query: new URLSearchParams(query), contentLength: isChunked ? undefined : Number(length ?? 0) };
}

/** A whole stream, in the pieces that are written at once. */
function encodeBurst({ head, token, tail }: Frames, tokens: number): Uint8Array[] {
  const all = [head, ...Array.from({ length: tokens }, () => token), tail];
  const burst: Uint8Array[] = [];
  for (let index = 0; index < all.length; index += TOKENS_PER_WRITE) {
    burst.push(joined(all.slice(index, index + TOKENS_PER_WRITE)));
  }
  return burst;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

async function endWithStdin(): Promise<void> {
  for await (const _ of Deno.stdin.readable);
  Deno.exit(0);
}

const listener = Deno.listen({ hostname: "127.0.0.1", port: Number(Deno.args[0] ?? 0), reusePort: true });
writeLine(Deno.stdout, `listening ${listener.addr.port}`);
endWithStdin();
for await (const conn of listener) {
  conn.setNoDelay(true);
  new Connection(conn).serve();
}
