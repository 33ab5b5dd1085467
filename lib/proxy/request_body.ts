/**
 * The body of a request: passed on as it came, and read beside that as far as it is worth it.
 *
 * @module
 */

import { ByteQueue, join } from "../bytes/byte_queue.ts";
import { describe } from "../errors.ts";
import { type ClientRequest, contentLength } from "../http.ts";
import { type Exchange } from "./exchange.ts";
import { tap, type Turns, type Watcher } from "./tap.ts";
import { readRequest } from "./stream_usage.ts";

/** Longest body that is read, in bytes. A longer one is passed on unread: its model is taken from the answer. */
export const READ_LIMIT_BYTES = 8 * 1024 * 1024;

/**
 * Most bytes of bodies that are held at once, of all requests whose answer has not begun. Beyond it bodies are passed
 * on unread, so that memory stays bounded when thousands wait.
 */
export const HELD_LIMIT_BYTES = 256 * 1024 * 1024;

type ByteStream = ReadableStream<Uint8Array<ArrayBuffer>>;

/** A body as it goes to the upstream. */
export interface OutgoingBody {
  /** `null`: the request has none. */
  readonly body: Uint8Array<ArrayBuffer> | ByteStream | Blob | null;
  /** Usage was asked for on the client's behalf; it has to be taken out of the answer. */
  readonly hasAsked: boolean;
  /** What is held of it until the answer begins. */
  readonly heldBytes: number;
}

/** A body cannot be read to its end: its client has left, or does not send HTTP. */
export class UnreadableBody extends Error {
  override readonly name = "UnreadableBody";
}

type WholeBody = OutgoingBody & { readonly body: Uint8Array<ArrayBuffer> };

/** Reads the bodies of requests. */
export class BodyReader {
  readonly #asksForUsage: boolean;
  readonly #turns: Turns;
  #heldBytes = 0;

  /**
   * @param asksForUsage Whether streams that carry no token counts by themselves are to be asked for them.
   * @param turns Those of all taps.
   */
  constructor(asksForUsage: boolean, turns: Turns) {
    this.#asksForUsage = asksForUsage;
    this.#turns = turns;
  }

  /**
   * Makes of the client's body the upstream's, tells the exchange its size and the model that it names.
   *
   * A body that tells its length goes on with that length, for which it has to be whole before it is sent; Ollama
   * cannot begin before that either. One that comes in chunks of unknown number goes on in chunks, as they come, unless
   * usage is to be asked for in it.
   *
   * @throws {UnreadableBody} Where the client leaves before its body is complete.
   */
  async read(request: ClientRequest, exchange: Exchange): Promise<OutgoingBody> {
    const { headers } = request;
    const length = contentLength(headers);
    if (length === 0 || length === undefined && !headers.has("transfer-encoding")) return untouched(null);
    if (length !== undefined) exchange.requestBytes = length;
    const { api, hasJsonRequest = false, asksForUsage = false } = exchange.endpoint;
    const asks = asksForUsage && this.#asksForUsage;
    const isReadable = api !== undefined && hasJsonRequest && !headers.has("content-encoding") &&
      this.#heldBytes + (length ?? 0) < HELD_LIMIT_BYTES;
    if (isReadable && length !== undefined && length <= READ_LIMIT_BYTES) {
      return this.#whole(await this.#receive(request, length), exchange, asks);
    }
    // Not asked for before: with a stream of the body in between, `bytes()` costs half as much again.
    const { body } = request;
    if (body === null) return untouched(null);
    // Of `Deno.serve`'s own streams `fetch` knows the length. Others go through a tap, which counts what comes; without
    // one V8 lets several hundred MiB of the buffers of `node:http` lie.
    if (length !== undefined && request instanceof Request) return untouched(body);
    if (length !== undefined) {
      exchange.requestBytes = 0;
      return untouched(new SizedBody(tap(body, new UploadWatcher(exchange), this.#turns), length));
    }
    if (!isReadable) return untouched(tap(body, new UploadWatcher(exchange), this.#turns));
    return asks ? await this.#gather(body, exchange) : untouched(tap(body, new ModelWatcher(exchange), this.#turns));
  }

  /** The answer to this body has begun, or there is none. */
  release({ heldBytes }: OutgoingBody): void {
    this.#heldBytes -= heldBytes;
  }

  /** Reads a body to its end. It counts as held from the beginning, since memory fills while it comes. */
  async #receive(request: ClientRequest, length: number): Promise<Uint8Array<ArrayBuffer>> {
    this.#heldBytes += length;
    try {
      return await received(request.bytes());
    } finally {
      this.#heldBytes -= length;
    }
  }

  #whole(bytes: Uint8Array<ArrayBuffer>, exchange: Exchange, asks: boolean): WholeBody {
    const asking = read(bytes, exchange, asks);
    const body = asking ?? bytes;
    this.#heldBytes += body.length;
    return { body, hasAsked: asking !== undefined, heldBytes: body.length };
  }

  /** Reads a body of unknown length up to the limits; it stays one of unknown length. */
  async #gather(body: ByteStream, exchange: Exchange): Promise<OutgoingBody> {
    const reader = body.getReader();
    const parts: Uint8Array<ArrayBuffer>[] = [];
    try {
      while (exchange.requestBytes <= READ_LIMIT_BYTES && this.#heldBytes <= HELD_LIMIT_BYTES) {
        const { done, value } = await received(reader.read());
        if (done) {
          const whole = this.#whole(join(parts), exchange, true);
          return { ...whole, body: streamOf([whole.body]) };
        }
        parts.push(value);
        exchange.requestBytes += value.length;
        this.#heldBytes += value.length;
      }
    } finally {
      this.#heldBytes -= exchange.requestBytes;
    }
    reader.releaseLock();
    return untouched(streamOf(parts, tap(body, new UploadWatcher(exchange), this.#turns)));
  }
}

/** What comes from the client, whose errors are told from ours. */
async function received<T>(reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (cause) {
    throw new UnreadableBody(describe(cause), { cause });
  }
}

/** Tells the exchange the model, and returns the body that asks for usage, if there is one. */
function read(bytes: Uint8Array, exchange: Exchange, asks: boolean): Uint8Array<ArrayBuffer> | undefined {
  try {
    const { model, asking } = readRequest(bytes, asks);
    if (model !== undefined) exchange.named(model);
    return asking;
  } catch (error) {
    exchange.internalError(error);
    return undefined;
  }
}

function untouched(body: ByteStream | Blob | null): OutgoingBody {
  return { body, hasAsked: false, heldBytes: 0 };
}

/** The parts, followed by what is left of the stream they were taken from. */
async function* chunks(parts: Uint8Array<ArrayBuffer>[], rest?: ByteStream): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  yield* parts;
  if (rest !== undefined) yield* rest;
}

function streamOf(parts: Uint8Array<ArrayBuffer>[], rest?: ByteStream): ByteStream {
  return ReadableStream.from(chunks(parts, rest));
}

/** A stream of known length. As a plain stream `fetch` would send it in chunks, whatever `content-length` says. */
class SizedBody extends Blob {
  readonly #stream: ByteStream;
  readonly #length: number;

  constructor(stream: ByteStream, length: number) {
    super();
    this.#stream = stream;
    this.#length = length;
  }

  override get size(): number {
    return this.#length;
  }

  override stream(): ByteStream {
    return this.#stream;
  }
}

/** Counts the bytes of a body as they come. */
class UploadWatcher implements Watcher {
  protected readonly exchange: Exchange;

  constructor(exchange: Exchange) {
    this.exchange = exchange;
  }

  chunk(bytes: Uint8Array): void {
    this.exchange.requestBytes += bytes.length;
  }

  complete(): void {}
  broken(): void {}
  cancelled(): void {}
}

/** Reads the model off a body that is already on its way. */
class ModelWatcher extends UploadWatcher {
  readonly #held = new ByteQueue();

  override chunk(bytes: Uint8Array): void {
    super.chunk(bytes);
    if (this.exchange.requestBytes <= READ_LIMIT_BYTES) this.#held.add(bytes);
    else this.#held.clear();
  }

  override complete(): void {
    read(this.#held.take(new Uint8Array(0)), this.exchange, false);
  }
}
