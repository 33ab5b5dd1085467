/**
 * The body of a request: forwarded as it arrives, and parsed within bounds.
 *
 * @module
 */

import { describe } from "../errors.ts";
import { type ClientRequest, contentLength } from "../http.ts";
import type { Endpoint } from "../reading/endpoints.ts";
import { BodyReader, type Bytes } from "./body_reader.ts";
import type { LoopTicks } from "./gather.ts";
import { HeldBody, type HeldTotal, READ_LIMIT_BYTES } from "./held_body.ts";
import { NO_FACTS, type ParsedRequest, type ParseOptions, parseRequest, type RequestFacts } from "./stream_usage.ts";
import { type BodyEnd, tap, type Watcher } from "./tap.ts";

/**
 * Maximum size of a body that is passed to `fetch` as it is, in bytes: at a fraction of what a stream costs, but it is
 * copied more than once, and the copies are kept until the response begins (seen in Deno 2.9.6).
 */
const SHORT_BODY_BYTES = 16 * 1024;
/** Size of such a body in memory, the copies included, by its own size. */
const FETCH_COPIES = 4;

/** Size of the pieces in which a larger body is passed to `fetch`. */
const PIECE_BYTES = 64 * 1024;

type ByteStream = ReadableStream<Bytes>;

/** What is known about a body; it changes while the body is streamed. */
export interface RequestBodyFacts extends RequestFacts {
  /** Bytes received from the client. */
  readonly bytes: number;
}

/** A body on its way to the upstream. */
export interface RequestBody {
  /** What is sent upstream; `null` where the request has no body. */
  readonly body: Bytes | ByteStream | Blob | null;
  /** Usage was requested on the client's behalf; it has to be hidden from the client. */
  readonly hasRequestedUsage: boolean;
  /** An object of its own: it is needed until the request ends, and must not keep the body alive so long. */
  readonly facts: RequestBodyFacts;
  /** Call it when the response has begun, or when there is none: what is held of the body is no longer needed. */
  release(): void;
}

/** The client disconnected before its body was complete, or violated HTTP. */
export class UnreadableBody extends Error {
  override readonly name = "UnreadableBody";
  /** Bytes received before that. */
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
  readonly #total: HeldTotal = { bytes: 0 };

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
    const { headers, body } = request;
    const length = contentLength(headers);
    if (body === null || length === 0) return NO_BODY;
    const { api, hasJsonRequest = false, hasOptions = false, streamsByDefault = false, asksForUsage = false } =
      endpoint;
    const canRequestUsage = asksForUsage && this.#options.openaiStreamUsage;
    const isParsed = api !== undefined && hasJsonRequest && !headers.has("content-encoding");
    const isHeld = isParsed && (length === undefined ? canRequestUsage : length <= READ_LIMIT_BYTES);
    if (isHeld) return await this.#receive(body, length, { hasOptions, streamsByDefault, canRequestUsage });
    const parse = isParsed && length === undefined
      ? { hasOptions, streamsByDefault, canRequestUsage: false }
      : undefined;
    return this.#streamed(body, { length, parse });
  }

  /** Receives a body to its end, as long as it stays within the limits; a chunked one stays chunked. */
  async #receive(body: ByteStream, length: number | undefined, parse: ParseOptions): Promise<RequestBody> {
    const held = new HeldBody(this.#total, length);
    const reader = new BodyReader(body);
    let bytes = 0;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return this.#held(held, length === undefined, parse);
        bytes += value.length;
        if (!held.add(value)) {
          reader.release();
          return this.#streamed(body, { length, beginning: { held, parts: [held.take(), value.slice()], bytes } });
        }
        reader.reuse(value);
      }
    } catch (cause) {
      held.release();
      throw new UnreadableBody(cause, bytes);
    }
  }

  #held(held: HeldBody, isChunked: boolean, parse: ParseOptions): RequestBody {
    const received = held.take();
    const { withUsage, ...facts } = this.#parse(received, parse);
    const body = withUsage ?? received;
    const isShort = !isChunked && body.length <= SHORT_BODY_BYTES;
    held.replace(isShort ? FETCH_COPIES * body.length : body.length);
    return {
      body: isShort ? body : isChunked ? streamOf(held, [body]) : new SizedBody(streamOf(held, [body]), body.length),
      hasRequestedUsage: withUsage !== undefined,
      facts: { bytes: received.length, ...facts },
      release: () => held.release(),
    };
  }

  #streamed(body: ByteStream, { beginning, parse, length }: StreamedOptions): RequestBody {
    const copied = parse && { copy: new HeldBody(this.#total), parse: (whole: Bytes) => this.#parse(whole, parse) };
    const watcher = new BodyWatcher(beginning?.bytes ?? 0, copied);
    const rest = tap(body, { watcher, ticks: this.#options.ticks });
    const sent = beginning === undefined ? rest : streamOf(beginning.held, beginning.parts, rest);
    return {
      ...NO_BODY,
      body: length === undefined ? sent : new SizedBody(sent, length),
      facts: watcher.facts,
      release: () => beginning?.held.release(),
    };
  }

  #parse(bytes: Uint8Array, options: ParseOptions): ParsedRequest {
    try {
      return parseRequest(bytes, options);
    } catch (error) {
      this.#options.internalError(error);
      return { ...NO_FACTS, withUsage: undefined };
    }
  }
}

const NO_BODY: RequestBody = {
  body: null,
  hasRequestedUsage: false,
  facts: { ...NO_FACTS, bytes: 0 },
  release(): void {},
};

interface StreamedOptions {
  /** Absent: nothing was received of it. */
  readonly beginning?: Beginning;
  /** How it is parsed when it is complete. Absent: it is not. */
  readonly parse?: ParseOptions | undefined;
  /** Absent: the body is chunked. */
  readonly length: number | undefined;
}

/** What was received of a body that went over a limit. */
interface Beginning {
  readonly held: HeldBody;
  /** Its bytes, and the chunk that was one too many. */
  readonly parts: readonly Bytes[];
  readonly bytes: number;
}

/** A body that is copied on its way, to be parsed. */
interface Copied {
  readonly copy: HeldBody;
  readonly parse: (whole: Bytes) => ParsedRequest;
}

/** Counts the bytes of a body on its way, and parses it when it is complete. */
class BodyWatcher implements Watcher {
  readonly facts = { ...NO_FACTS, bytes: 0 };
  #copied: Copied | undefined;

  /** @param copied Absent: the body is not parsed. */
  constructor(bytes: number, copied: Copied | undefined) {
    this.facts.bytes = bytes;
    this.#copied = copied;
  }

  chunk(bytes: Uint8Array): void {
    this.facts.bytes += bytes.length;
    if (this.#copied?.copy.add(bytes) === false) this.#drop();
  }

  end(end: BodyEnd): void {
    if (end === "complete" && this.#copied !== undefined) {
      const { copy, parse } = this.#copied;
      const { withUsage: _, ...facts } = parse(copy.take());
      Object.assign(this.facts, facts);
    }
    this.#drop();
  }

  #drop(): void {
    this.#copied?.copy.release();
    this.#copied = undefined;
  }
}

/**
 * A stream of what is held, then of the rest. In pieces, since `fetch` copies what it reads; what is sent is held no
 * longer.
 */
function streamOf(held: HeldBody, parts: readonly Bytes[], rest?: ByteStream): ByteStream {
  let pieces = parts.values().flatMap(piecesOf);
  const reader = rest?.getReader();
  return new ReadableStream<Bytes>({
    async pull(controller): Promise<void> {
      const piece = pieces.next();
      if (!piece.done) return controller.enqueue(piece.value);
      held.release();
      const next = await reader?.read();
      if (next?.value === undefined) controller.close();
      else controller.enqueue(next.value);
    },
    async cancel(reason): Promise<void> {
      pieces = [].values();
      held.release();
      await reader?.cancel(reason);
    },
  }, { highWaterMark: 0 });
}

function* piecesOf(bytes: Bytes): Generator<Bytes> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
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
