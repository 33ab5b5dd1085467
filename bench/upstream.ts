/**
 * Upstream of the bench: the part of Ollama that the load needs, on raw TCP to avoid being the bottleneck.
 *
 *     deno run --allow-net --unstable-net upstream.ts PORT
 *
 * Prints `listening PORT`; exits when its standard input ends. Several processes can share a port.
 *
 * @module
 */

import { join } from "../lib/bytes/byte_queue.ts";
import { BodyDecoder, BulkCheck, chunks, patternOf, pieces, writeAll } from "./bulk.ts";
import {
  bodyOf,
  checkedBody,
  type Dialect,
  type EncodedStream,
  encodeStream,
  ERROR_BODY,
  jsonResponse,
  modelsBody,
  streamHead,
  type StreamShape,
  VERSION_BODY,
  type Wanted,
  wholeBody,
} from "./payloads.ts";
import { writeLine } from "./job.ts";
import { Pacer } from "./pacer.ts";

/** Tokens per write of a stream that is not paced. */
const TOKENS_PER_WRITE = 8;

/** Maximum size of a request head. */
const HEAD_LIMIT_BYTES = 16 * 1024;

/** Number of models in `/api/ps` and `/api/tags`. */
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

/** Maximum number of tokens of a stream that is kept encoded. */
const BURST_LIMIT_TOKENS = 4096;

/** Maximum number of streams kept encoded. */
const KEPT_STREAMS = 1000;

/** Request head. */
interface Head {
  readonly path: string;
  readonly query: URLSearchParams;
  /** `undefined` if the body is chunked. */
  readonly contentLength: number | undefined;
}

/** Fields read from a request body. */
interface Body {
  readonly model: string;
  /** Default: `true`. */
  readonly stream?: boolean;
  readonly options?: Wanted;
  readonly stream_options?: { readonly include_usage?: boolean };
}

const pacer = new Pacer();
const streams = new Map<string, EncodedStream>();
const bursts = new Map<string, Uint8Array[]>();

/** Handles the requests of one connection, one at a time. */
class Connection {
  readonly #conn: Deno.TcpConn;
  readonly #buffer = new Uint8Array(64 * 1024);
  /** Bytes read and not yet consumed. */
  #unread: Uint8Array = this.#buffer.subarray(0, 0);

  constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  async serve(): Promise<void> {
    try {
      for (let head = await this.#head(); head !== undefined; head = await this.#head()) await this.#answer(head);
    } catch {
      // The client has disconnected.
    }
    try {
      this.#conn.close();
    } catch {
      // Already closed.
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
    let encoded = streams.get(key);
    if (encoded === undefined) keep(streams, key, encoded = encodeStream(shape));
    if (pace_ms !== undefined) {
      return await pacer.send(this.#conn, plain ? { ...encoded, stampAt: undefined } : encoded, shape.tokens, pace_ms);
    }
    let burst = bursts.get(key);
    if (burst === undefined) keep(bursts, key, burst = encodeBurst(encoded, shape.tokens));
    await writeAll(this.#conn, burst);
  }

  /** Responds with the number of bytes of an upload that were lost. */
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

  /** Reads the next request head, or returns `undefined` if the client has closed the connection. */
  async #head(): Promise<Head | undefined> {
    let text = "";
    while (true) {
      text += decoder.decode(this.#unread);
      const end = text.indexOf("\r\n\r\n");
      if (end >= 0) {
        this.#unread = this.#unread.subarray(this.#unread.length - (text.length - end - 4));
        return parseHead(text.slice(0, end));
      }
      if (text.length > HEAD_LIMIT_BYTES) throw new Error("request head too long");
      if (!await this.#read()) return undefined;
    }
  }

  /** Reads a small body. */
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
      if (!await this.#read()) throw new Error("incomplete body");
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

/** Keeps an encoded stream, unless too many are kept. */
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

/** Returns a whole stream, in the pieces in which it is written. */
function encodeBurst({ head, token, tail }: EncodedStream, tokens: number): Uint8Array[] {
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
