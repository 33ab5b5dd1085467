/**
 * Serializes pipelined requests: the bytes behind a request are kept, and parsed when its response has ended.
 *
 * `node:http` parses ahead and starts all requests of a connection at once, and those behind the first never end if
 * the client disconnects (Deno 2.9.6). The connection is read all the time, since only that reveals a disconnect.
 *
 * @module
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { releaseMemory } from "../http.ts";

/**
 * Maximum size of pipelined requests kept, of all connections. Further ones stay unread, and a disconnect of their
 * client is detected only with its response.
 */
export const PIPELINED_LIMIT_BYTES = 16 * 1024 * 1024;

/** Memory of a chunk besides its bytes. */
const CHUNK_OVERHEAD_BYTES = 256;

/** Bytes kept by the pipelines of a listener. */
export interface PipelinedBytes {
  kept: number;
}

/** Listener on "data" events, which passes bytes to the parser. */
type Parse = (chunk: Uint8Array) => void;

/** The part of a server's socket that `node:http` adds: its parser, which reads natively unless told otherwise. */
type HttpSocket = Socket & { readonly parser?: { unconsume(): void } | null };

/** The requests of one connection, one after the other. */
export class Pipeline {
  readonly #socket: Socket;
  readonly #bytes: PipelinedBytes;
  readonly #parse: Parse;
  readonly #boundary = new Boundary();
  /** The last request. Its body may still be arriving. */
  #request: IncomingMessage | undefined;
  #isResponding = false;
  #kept: Uint8Array[] = [];

  /**
   * @param socket As `node:http` has prepared it, before its first byte.
   * @param bytes Shared by all pipelines of a listener.
   */
  constructor(socket: HttpSocket, bytes: PipelinedBytes) {
    this.#socket = socket;
    this.#bytes = bytes;
    socket.parser?.unconsume();
    const parsers = socket.listeners("data") as Parse[];
    this.#parse = (chunk) => parsers.forEach((parse) => parse(chunk));
    socket.removeAllListeners("data");
    socket.on("data", (chunk: Uint8Array) => this.#receive(chunk));
    socket.once("close", () => void this.#take());
  }

  /** Whether a request has no response yet, or an incomplete one. */
  get isResponding(): boolean {
    return this.#isResponding;
  }

  /** To be called with each request. The next one follows when this response has been sent. */
  onRequest(request: IncomingMessage, response: ServerResponse): void {
    this.#request = request;
    this.#boundary.onHead(request);
    this.#isResponding = true;
    response.once("close", () => {
      this.#isResponding = false;
      this.#next();
    });
  }

  #receive(chunk: Uint8Array): void {
    const rest = this.#kept.length === 0 ? this.#parseOne(chunk) : chunk;
    if (rest.length > 0) this.#keep(rest);
    else releaseMemory(chunk);
  }

  /** Parses up to the end of the current request, if one is expected. Returns the bytes behind it. */
  #parseOne(chunk: Uint8Array): Uint8Array {
    // The parser is detached by an error and by CONNECT; the socket is about to close then, or is being closed.
    while (chunk.length > 0 && !this.#isBusy() && this.#socket.writable) {
      const length = this.#boundary.next(chunk, this.#request?.complete ?? true);
      this.#parse(chunk.subarray(0, length));
      chunk = chunk.subarray(length);
    }
    return this.#socket.writable ? chunk : chunk.subarray(chunk.length);
  }

  /** Whether a whole request awaits the end of its response. */
  #isBusy(): boolean {
    return this.#isResponding && this.#request?.complete === true;
  }

  /** Parses what was kept, up to the end of the next request. */
  #next(): void {
    const kept = this.#take();
    for (const [index, chunk] of kept.entries()) {
      const rest = this.#parseOne(chunk);
      if (rest.length === 0) continue;
      for (const later of [rest, ...kept.slice(index + 1)]) this.#keep(later);
      return;
    }
    if (this.#socket.isPaused()) this.#socket.resume();
  }

  #keep(chunk: Uint8Array): void {
    this.#kept.push(chunk);
    this.#bytes.kept += chunk.length + CHUNK_OVERHEAD_BYTES;
    if (this.#bytes.kept > PIPELINED_LIMIT_BYTES) this.#socket.pause();
  }

  #take(): Uint8Array[] {
    const kept = this.#kept;
    this.#kept = [];
    for (const chunk of kept) this.#bytes.kept -= chunk.length + CHUNK_OVERHEAD_BYTES;
    return kept;
  }
}

const CR = 0x0d;
const LF = 0x0a;

/** Finds where a request can end. A boundary too many does no harm: the parser knows what a request is. */
class Boundary {
  /** Bytes of the body that are still to come; `undefined` if it has no length. */
  #remaining: number | undefined;
  /** The last two bytes of a chunk that was searched. */
  #tail: readonly [number, number] = [0, 0];

  onHead({ headers }: IncomingMessage): void {
    const length = headers["content-length"];
    this.#remaining = length === undefined ? undefined : Number(length);
  }

  /**
   * Returns the number of bytes up to the next boundary, or to the end of the chunk.
   *
   * @param isHead Whether the chunk begins in a request's head, not in its body.
   */
  next(chunk: Uint8Array, isHead: boolean): number {
    if (!isHead && this.#remaining) {
      const length = Math.min(chunk.length, this.#remaining);
      this.#remaining -= length;
      return length;
    }
    const length = this.#emptyLine(chunk) ?? chunk.length;
    this.#tail = [this.#at(chunk, length - 2), this.#at(chunk, length - 1)];
    return length;
  }

  /** Returns the end of an empty line, which ends a head as well as a body in chunks. */
  #emptyLine(chunk: Uint8Array): number | undefined {
    for (let index = chunk.indexOf(LF); index !== -1; index = chunk.indexOf(LF, index + 1)) {
      const before = this.#at(chunk, index - 1);
      if (before === LF || before === CR && this.#at(chunk, index - 2) === LF) return index + 1;
    }
    return undefined;
  }

  #at(chunk: Uint8Array, index: number): number {
    return (index < 0 ? this.#tail[index + 2] : chunk[index]) ?? 0;
  }
}
