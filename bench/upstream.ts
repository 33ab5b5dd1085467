/**
 * The bench's upstream: as much of Ollama as the load needs, on bare TCP, so that it is never the bottleneck.
 *
 *     deno run --allow-net --unstable-net upstream.ts PORT
 *
 * Prints `listening PORT`; ends when its standard input ends. Several processes can share a port.
 *
 * @module
 */

import { join } from "../lib/bytes/byte_queue.ts";
import { BodyDecoder, BulkCheck, chunks, patternOf, pieces, writeAll } from "./bulk.ts";
import {
  bodyOf,
  checkedBody,
  type Dialect,
  encodeStream,
  ERROR_BODY,
  type Frames,
  jsonResponse,
  modelsBody,
  streamHead,
  type StreamShape,
  VERSION_BODY,
  type Wanted,
  wholeBody,
} from "./frames.ts";
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

/** More tokens than that are not written as single ones, nor kept. */
const BURST_LIMIT_TOKENS = 4096;

/** Streams that are kept encoded. */
const KEPT_STREAMS = 1000;

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
  /** Absent: it is wanted. */
  readonly stream?: boolean;
  readonly options?: Wanted;
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
    if (dialect !== undefined) return await this.#generate(dialect, JSON.parse(await this.#text(head)));
    if (head.query.has("check")) {
      return await this.#check(head, new BulkCheck(patternOf(Number(head.query.get("check")))));
    }
    await this.#body(head, () => {});
    if (head.path.startsWith("/api/blobs/")) return await this.#write(CREATED);
    if (head.path === "/bench/download") return await this.#download(Number(head.query.get("bytes")));
    await this.#write(ANSWERS[head.path] ?? NOT_FOUND);
  }

  async #generate(dialect: Dialect, { model, stream = true, options = {}, stream_options }: Body): Promise<void> {
    const { num_predict: tokens = 1, token_bytes, status, fails } = options;
    const shape = { dialect, model, tokens, usage: stream_options?.include_usage === true, fails };
    if (status !== undefined) return await this.#write(jsonResponse(ERROR_BODY, status));
    if (!stream) return await this.#write(jsonResponse(wholeBody(shape)));
    if (token_bytes === undefined && tokens <= BURST_LIMIT_TOKENS) return await this.#stream(shape, options);
    await this.#write(encoder.encode(streamHead(dialect)));
    await writeAll(this.#conn, chunks(bodyOf(shape, token_bytes)));
  }

  async #stream(shape: StreamShape, { pace_ms, plain }: Wanted): Promise<void> {
    const key = JSON.stringify(shape);
    let frames = streams.get(key);
    if (frames === undefined) keep(streams, key, frames = encodeStream(shape));
    if (pace_ms !== undefined) {
      return await pacer.send(this.#conn, plain ? { ...frames, stampAt: undefined } : frames, shape.tokens, pace_ms);
    }
    let burst = bursts.get(key);
    if (burst === undefined) keep(bursts, key, burst = encodeBurst(frames, shape.tokens));
    await writeAll(this.#conn, burst);
  }

  /** Tells what of an upload has not come as it should. */
  async #check(head: Head, check: BulkCheck): Promise<void> {
    await this.#body(head, (bytes) => check.push(bytes));
    await this.#write(jsonResponse(checkedBody(check.lost)));
  }

  async #download(bytes: number): Promise<void> {
    const type = "application/octet-stream";
    await this.#write(
      encoder.encode(`HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nContent-Length: ${bytes}\r\n\r\n`),
    );
    await writeAll(this.#conn, pieces(patternOf(bytes)));
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

  /** A small body. */
  async #text(head: Head): Promise<string> {
    let text = "";
    await this.#body(head, (bytes) => text += decoder.decode(bytes));
    return text;
  }

  /** Reads a body to its end. */
  async #body(head: Head, take: (bytes: Uint8Array) => void): Promise<void> {
    const body = new BodyDecoder(head.contentLength, take);
    this.#unread = this.#unread.subarray(body.push(this.#unread));
    while (!body.done) {
      if (!await this.#read()) throw new Error("body broken off");
      this.#unread = this.#unread.subarray(body.push(this.#unread));
    }
  }

  async #read(): Promise<boolean> {
    const count = await this.#conn.read(this.#buffer);
    this.#unread = this.#buffer.subarray(0, count ?? 0);
    return count !== null;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    await writeAll(this.#conn, [bytes]);
  }
}

/** Keeps what is encoded, unless there are too many kinds of it. */
function keep<T>(kept: Map<string, T>, key: string, encoded: T): void {
  if (kept.size < KEPT_STREAMS) kept.set(key, encoded);
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
    burst.push(join(all.slice(index, index + TOKENS_PER_WRITE)));
  }
  return burst;
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
