/**
 * Small HTTP/1.1 server on raw TCP. Unlike `Deno.serve` it controls every byte and every write, and detects when the
 * peer closes, by reading from the socket while it responds. Pipelining is limited by the inbox; like Ollama it has no
 * TLS and no HTTP/2 (docs/ollama-api.md 5.3).
 */

import { concat, RecordedRequest, type RequestHead } from "./request.ts";
import {
  BadRequest,
  BodyReader,
  ConnectionGone,
  endOfHead,
  expectsContinue,
  Inbox,
  latin1Bytes,
  MAX_HEAD_BYTES,
  parseHead,
} from "./wire.ts";

const READ_BUFFER_BYTES = 64 * 1024;
/** Maximum of unread body bytes that Go consumes to keep the connection (net/http, maxPostHandlerReadBytes). */
const MAX_DRAINED_BODY_BYTES = 256 * 1024;
const EMPTY = new Uint8Array(0);
const CONTINUE = new TextEncoder().encode("HTTP/1.1 100 Continue\r\n\r\n");

/** Handles one request. Resolves when the response is complete. */
export type Handler = (request: RecordedRequest, connection: FakeConnection) => Promise<void>;

/** TCP connection with control over each byte of the responses. */
export class FakeConnection {
  readonly id: number;
  /** Maximum bytes per write, each a packet of its own. Default: unlimited. */
  writeBytes: number | undefined;
  /** Whether to close the connection after the current response. */
  closeAfterAnswer = false;

  #conn: Deno.TcpConn;
  #inbox = new Inbox();
  #gone = false;
  #closed = false;
  #written = 0;
  #request: RecordedRequest | undefined;
  #body: BodyReader | undefined;
  #finishing = false;
  #wake: (() => void) | undefined;
  #onGone: (() => void)[] = [];

  constructor(id: number, conn: Deno.TcpConn) {
    this.id = id;
    this.#conn = conn;
    conn.setNoDelay(true);
  }

  /** Whether the peer or this side has closed the connection. */
  get gone(): boolean {
    return this.#gone || this.#closed;
  }

  /** Response bytes written so far, over all requests. */
  get bytesWritten(): number {
    return this.#written;
  }

  /** Writes raw bytes or latin1 text. Throws ConnectionGone if the peer has disconnected. */
  async write(data: Uint8Array | string): Promise<void> {
    const bytes = typeof data === "string" ? latin1Bytes(data) : data;
    const step = this.writeBytes ?? (bytes.length || 1);
    let at = 0;
    while (at < bytes.length) {
      if (this.gone) throw new ConnectionGone();
      try {
        const count = await this.#conn.write(bytes.subarray(at, at + step));
        at += count;
        this.#written += count;
      } catch {
        this.#leave();
        throw new ConnectionGone();
      }
    }
  }

  /** Like `write()`, for the last bytes of a response: if the peer closes then, it has not aborted. */
  async writeLast(data: Uint8Array | string): Promise<void> {
    this.#finishing = true;
    try {
      await this.write(data);
      this.#request?.recordEnd("answered");
    } catch (error) {
      this.#request?.recordEnd("aborted");
      throw error;
    }
  }

  /** Waits, one call at a time. Throws ConnectionGone as soon as the peer disconnects. */
  async sleep(milliseconds: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = milliseconds === Infinity ? undefined : setTimeout(resolve, milliseconds);
    try {
      await this.waitFor(promise);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Waits for an event, one call at a time. Throws ConnectionGone as soon as the peer disconnects. */
  async waitFor(event: Promise<void>): Promise<void> {
    if (this.gone) throw new ConnectionGone();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    void event.then(resolve);
    await promise;
    this.#wake = undefined;
    if (this.gone) throw new ConnectionGone();
  }

  /** Calls back once, when the peer disconnects or the connection is closed. */
  onGone(callback: () => void): void {
    if (this.gone) callback();
    else this.#onGone.push(callback);
  }

  /** Closes the socket at once. Within a response the peer sees a broken connection. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#conn.close();
    } catch {
      // Already closed after a failed read.
    }
    this.#request?.recordEnd(this.#gone ? "aborted" : "broken");
    this.#notify();
  }

  /** Reads the rest of the current request's body. May be called repeatedly. */
  async readBody(): Promise<Uint8Array<ArrayBuffer>> {
    while (await this.readBodyChunk() !== undefined);
    return this.#request?.body ?? EMPTY;
  }

  /** Returns the next bytes of the current request's body, or `undefined` at its end. Responds to Expect first. */
  async readBodyChunk(): Promise<Uint8Array | undefined> {
    const body = this.#body;
    const request = this.#request;
    if (body === undefined || request === undefined || request.bodyComplete) return undefined;
    if (!body.started && expectsContinue(request)) {
      await this.write(CONTINUE);
      this.#written -= CONTINUE.length;
    }
    body.started = true;
    const chunk = await body.next();
    if (chunk === undefined) request.bodyComplete = true;
    else request.recordBody(chunk);
    return chunk;
  }

  /**
   * Called before a response head is written. Handles an unread body as Go does: consumes a short rest, otherwise gives
   * up the connection. Returns whether the connection stays usable.
   */
  async settleBody(): Promise<boolean> {
    const request = this.#request;
    if (request === undefined || request.bodyComplete) return !this.closeAfterAnswer;
    if (this.#body?.started === false && expectsContinue(request)) this.closeAfterAnswer = true;
    const limit = request.bodyLength + MAX_DRAINED_BODY_BYTES;
    const announced = Number(request.header("content-length") ?? 0);
    if (announced > limit) this.closeAfterAnswer = true;
    while (!this.closeAfterAnswer && await this.readBodyChunk() !== undefined) {
      if (request.bodyLength > limit) this.closeAfterAnswer = true;
    }
    return !this.closeAfterAnswer;
  }

  /** Serves requests until either side closes. Reports unexpected errors of the handler. */
  async serve(
    handler: Handler,
    onRequest: (request: RecordedRequest) => void,
    report: (error: unknown) => void,
  ): Promise<void> {
    const pump = this.#pump();
    try {
      while (!this.#closed && !this.closeAfterAnswer) {
        const head = await this.#readHead();
        if (head === undefined) break;
        const request = this.#begin(head);
        onRequest(request);
        await handler(request, this);
        await this.settleBody();
        if (!this.#closed) request.recordEnd("answered");
        this.#request = undefined;
      }
    } catch (error) {
      if (error instanceof BadRequest) await this.#refuse();
      else if (!(error instanceof ConnectionGone)) report(error);
    } finally {
      this.close();
      await pump;
    }
  }

  #begin(head: RequestHead): RecordedRequest {
    const request = new RecordedRequest(head, this.id);
    this.#request = request;
    this.#finishing = false;
    this.#body = new BodyReader(this.#inbox, request);
    if (this.#body.empty) request.bodyComplete = true;
    const connection = request.header("connection")?.toLowerCase() ?? "";
    this.closeAfterAnswer = connection.includes("close") ||
      (request.minorVersion === 0 && !connection.includes("keep-alive"));
    if (this.#gone) request.recordEnd("aborted");
    return request;
  }

  async #readHead(): Promise<RequestHead | undefined> {
    let held: Uint8Array = EMPTY;
    while (true) {
      const chunk = await this.#inbox.take();
      if (chunk === undefined) return undefined;
      held = held.length === 0 ? chunk : concat([held, chunk]);
      const end = endOfHead(held);
      if (end >= 0) {
        this.#inbox.putBack(held.subarray(end));
        return parseHead(held.subarray(0, end - 4));
      }
      if (held.length > MAX_HEAD_BYTES) throw new BadRequest("Head too large");
    }
  }

  async #refuse(): Promise<void> {
    try {
      await this.write("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request");
    } catch {
      // The peer has already disconnected.
    }
  }

  async #pump(): Promise<void> {
    const buffer = new Uint8Array(READ_BUFFER_BYTES);
    try {
      while (true) {
        const count = await this.#conn.read(buffer);
        if (count === null) break;
        this.#inbox.push(buffer.slice(0, count));
        await this.#inbox.room();
      }
    } catch {
      // Reset by the peer, or closed on this side.
    }
    this.#leave();
    this.#inbox.end();
  }

  /** Called when a read or write shows that the peer has disconnected. */
  #leave(): void {
    if (this.gone) return;
    this.#gone = true;
    if (!this.#finishing) this.#request?.recordEnd("aborted");
    this.#notify();
  }

  #notify(): void {
    this.#wake?.();
    for (const callback of this.#onGone.splice(0)) callback();
  }
}
