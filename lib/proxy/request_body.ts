/**
 * The body of a request: forwarded as it arrives, and parsed within bounds.
 *
 * @module
 */

import { ByteQueue, join } from "../bytes/byte_queue.ts";
import { describe } from "../errors.ts";
import { type ClientRequest, contentLength } from "../http.ts";
import type { Endpoint } from "../reading/endpoints.ts";
import type { Bytes, LoopTicks } from "./gather.ts";
import { parseRequest, type RequestFacts } from "./stream_usage.ts";
import { type BodyEnd, tap, type Watcher } from "./tap.ts";

/** Maximum size of a body that is parsed, in bytes. A larger one is only forwarded; its model is the response's. */
export const READ_LIMIT_BYTES = 8 * 1024 * 1024;

/**
 * Maximum size of all bodies that are held at once, in bytes: those of requests whose response has not begun. Beyond it
 * bodies are only forwarded, so that memory stays bounded when thousands of requests wait.
 */
export const HELD_LIMIT_BYTES = 256 * 1024 * 1024;

type ByteStream = ReadableStream<Bytes>;

/** What is known about a body; it changes while the body is streamed. */
export interface RequestBodyFacts {
  /** Bytes received from the client. */
  readonly bytes: number;
  /** The model that the request names, as it is spelled there; `undefined` where it is not known. */
  readonly model: string | undefined;
}

/** A body on its way to the upstream. */
export interface RequestBody {
  /** What is sent upstream; `null` where the request has no body. */
  readonly body: Bytes | ByteStream | Blob | null;
  /** Usage was requested on the client's behalf; it has to be hidden from the client. */
  readonly hasRequestedUsage: boolean;
  /** An object of its own: it is needed until the request ends, and must not keep the body alive so long. */
  readonly facts: RequestBodyFacts;
  /** Bytes held until the response begins: pass the body to {@linkcode RequestBodies.release} then. */
  readonly heldBytes: number;
}

/** The client disconnected before its body was complete, or violated HTTP. */
export class UnreadableBody extends Error {
  override readonly name = "UnreadableBody";
  /** Bytes received before that; the announced length where it is not known. */
  readonly bytes: number;

  constructor(cause: unknown, bytes: number) {
    super(describe(cause), { cause });
    this.bytes = bytes;
  }
}

/** Options of {@linkcode RequestBodies}. */
export interface RequestBodiesOptions {
  /** Whether to request usage on streams that carry none by themselves. */
  readonly openaiStreamUsage: boolean;
  /** Shared by all taps. */
  readonly ticks: LoopTicks;
  /** Called with an exception of our own code; the body is forwarded all the same. */
  readonly internalError: (error: unknown) => void;
}

/** Reads the bodies of all requests, and limits what is held of them. */
export class RequestBodies {
  readonly #options: RequestBodiesOptions;
  #heldBytes = 0;

  constructor(options: RequestBodiesOptions) {
    this.#options = options;
  }

  /**
   * Makes the upstream's body of the client's.
   *
   * A body with a length is forwarded with that length, for which it is held until it is whole; Ollama cannot begin
   * earlier either. A chunked one is forwarded as it arrives, unless usage has to be requested in it.
   *
   * @throws {UnreadableBody} Where the client disconnects before its body is complete.
   */
  async read(request: ClientRequest, endpoint: Endpoint): Promise<RequestBody> {
    const { headers } = request;
    const length = contentLength(headers);
    if (length === 0 || length === undefined && !headers.has("transfer-encoding")) return NO_BODY;
    const { api, hasJsonRequest = false, asksForUsage = false } = endpoint;
    const canRequestUsage = asksForUsage && this.#options.openaiStreamUsage;
    const isParsed = api !== undefined && hasJsonRequest && !headers.has("content-encoding") &&
      this.#heldBytes + (length ?? 0) < HELD_LIMIT_BYTES;
    if (isParsed && length !== undefined && length <= READ_LIMIT_BYTES) {
      return this.#held(await this.#receive(request, length), canRequestUsage);
    }
    // Not asked for before: with a stream of the body in between, `bytes()` costs half as much again.
    const { body } = request;
    if (body === null) return NO_BODY;
    // `fetch` knows the length of `Deno.serve`'s own streams.
    if (length !== undefined && request instanceof Request) {
      return { ...NO_BODY, body, facts: { bytes: length, model: undefined } };
    }
    if (length !== undefined) return this.#streamed(body, { length });
    return isParsed && canRequestUsage ? await this.#collect(body) : this.#streamed(body, { isParsed });
  }

  /** The response to this body has begun, or there is none. */
  release({ heldBytes }: RequestBody): void {
    this.#heldBytes -= heldBytes;
  }

  /** Receives a body to its end. It counts as held from the beginning, since memory fills while it arrives. */
  async #receive(request: ClientRequest, length: number): Promise<Bytes> {
    this.#heldBytes += length;
    try {
      return await request.bytes();
    } catch (cause) {
      throw new UnreadableBody(cause, length);
    } finally {
      this.#heldBytes -= length;
    }
  }

  #held(received: Bytes, canRequestUsage: boolean): RequestBody & { readonly body: Bytes } {
    const { model, withUsage } = this.#parse(received, canRequestUsage);
    const body = withUsage ?? received;
    this.#heldBytes += body.length;
    const facts = { bytes: received.length, model };
    return { body, hasRequestedUsage: withUsage !== undefined, facts, heldBytes: body.length };
  }

  /** Receives a chunked body up to the limits; it stays a chunked one. */
  async #collect(body: ByteStream): Promise<RequestBody> {
    const reader = body.getReader();
    const parts: Bytes[] = [];
    let bytes = 0;
    try {
      while (bytes <= READ_LIMIT_BYTES && this.#heldBytes <= HELD_LIMIT_BYTES) {
        const { done, value } = await reader.read();
        if (done) {
          const held = this.#held(join(parts), true);
          return { ...held, body: streamOf([held.body]) };
        }
        parts.push(value);
        bytes += value.length;
        this.#heldBytes += value.length;
      }
    } catch (cause) {
      throw new UnreadableBody(cause, bytes);
    } finally {
      this.#heldBytes -= bytes;
    }
    reader.releaseLock();
    return this.#streamed(body, { received: parts });
  }

  #streamed(body: ByteStream, { received = [], isParsed = false, length }: StreamedOptions): RequestBody {
    const readModel = isParsed ? (whole: Uint8Array) => this.#parse(whole, false).model : undefined;
    const watcher = new BodyWatcher(received.reduce((sum, part) => sum + part.length, 0), readModel);
    const rest = tap(body, { watcher, ticks: this.#options.ticks });
    const sent = length !== undefined
      ? new SizedBody(rest, length)
      : received.length === 0
      ? rest
      : streamOf(received, rest);
    return { ...NO_BODY, body: sent, facts: watcher.facts };
  }

  #parse(bytes: Uint8Array, canRequestUsage: boolean): RequestFacts {
    try {
      return parseRequest(bytes, canRequestUsage);
    } catch (error) {
      this.#options.internalError(error);
      return { model: undefined, withUsage: undefined };
    }
  }
}

const NO_BODY: RequestBody = {
  body: null,
  hasRequestedUsage: false,
  facts: { bytes: 0, model: undefined },
  heldBytes: 0,
};

interface StreamedOptions {
  /** What was received of it already. */
  readonly received?: readonly Bytes[];
  /** Whether the model is read of it. */
  readonly isParsed?: boolean;
  /** Absent: it is chunked. */
  readonly length?: number;
}

/** Counts the bytes of a body on its way, and reads the model of it when it is complete. */
class BodyWatcher implements Watcher {
  readonly facts: { bytes: number; model: string | undefined };
  readonly #readModel: ((whole: Uint8Array) => string | undefined) | undefined;
  readonly #copy = new ByteQueue();

  constructor(bytes: number, readModel: ((whole: Uint8Array) => string | undefined) | undefined) {
    this.facts = { bytes, model: undefined };
    this.#readModel = readModel;
  }

  chunk(bytes: Uint8Array): void {
    this.facts.bytes += bytes.length;
    if (this.#readModel === undefined) return;
    if (this.facts.bytes <= READ_LIMIT_BYTES) this.#copy.add(bytes);
    else this.#copy.clear();
  }

  end(end: BodyEnd): void {
    const whole = this.#copy.take();
    if (end === "complete") this.facts.model = this.#readModel?.(whole);
  }
}

/** A stream of the parts, followed by the rest of the stream that they were taken from. */
function streamOf(parts: readonly Bytes[], rest?: ByteStream): ByteStream {
  return ReadableStream.from(chunksOf(parts, rest));
}

async function* chunksOf(parts: readonly Bytes[], rest: ByteStream | undefined): AsyncGenerator<Bytes> {
  yield* parts;
  if (rest !== undefined) yield* rest;
}

/** A stream of known length: `fetch` would send a plain stream chunked, whatever `content-length` says. */
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
