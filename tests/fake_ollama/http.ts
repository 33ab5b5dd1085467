/**
 * A small HTTP/1.1 server on raw TCP. The fake Ollama needs what `Deno.serve` does not give: every byte and every
 * write under control, and the exact moment at which the peer closes. It therefore keeps reading the socket while it
 * answers. Pipelining works as far as the inbox reaches, TLS and HTTP/2 do not exist, as in Ollama
 * (docs/ollama-api.md 5.3).
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
/** Go reads this much of a body that the handler left, to save the connection (net/http maxPostHandlerReadBytes). */
const MAX_DRAINED_BODY_BYTES = 256 * 1024;
const EMPTY = new Uint8Array(0);
const CONTINUE = new TextEncoder().encode("HTTP/1.1 100 Continue\r\n\r\n");

/** Answers one request. Returns when the answer is complete. */
export type Handler = (request: RecordedRequest, connection: FakeConnection) => Promise<void>;

/** One TCP connection: requests are read from it, answers are written to it byte by byte. */
export class FakeConnection {
  readonly id: number;
  /** Writes are cut to pieces of this size, each a packet of its own; undefined: one write per call. */
  writeBytes: number | undefined;
  /** Set when the connection must not be used for another request. */
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

  /** True when the peer has closed or the connection was closed on this side. */
  get gone(): boolean {
    return this.#gone || this.#closed;
  }

  /** Bytes of answers written so far, over all requests. */
  get bytesWritten(): number {
    return this.#written;
  }

  /** Writes raw bytes (or latin1 text) as they are; throws ConnectionGone when the peer has left. */
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

  /** Like write, for the last bytes of an answer: a peer that closes upon them has not aborted. */
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

  /** Waits; throws ConnectionGone at once when the peer leaves. One wait at a time. */
  async sleep(milliseconds: number): Promise<void> {
    if (this.gone) throw new ConnectionGone();
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = milliseconds === Infinity ? undefined : setTimeout(resolve, milliseconds);
    this.#wake = resolve;
    await promise;
    this.#wake = undefined;
    clearTimeout(timer);
    if (this.gone) throw new ConnectionGone();
  }

  /** Calls back once when the peer leaves or the connection is closed. */
  onGone(callback: () => void): void {
    if (this.gone) callback();
    else this.#onGone.push(callback);
  }

  /** Closes the socket at once; in mid-answer the peer sees a broken connection. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#conn.close();
    } catch {
      // Already closed by a failed read.
    }
    this.#request?.recordEnd(this.#gone ? "aborted" : "broken");
    this.#notify();
  }

  /** Reads the body of the current request to its end; safe to call again. */
  async readBody(): Promise<Uint8Array<ArrayBuffer>> {
    while (await this.readBodyChunk() !== undefined);
    return this.#request?.body ?? EMPTY;
  }

  /** The next bytes of the current request's body as they come, undefined at its end. Answers Expect first. */
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
   * Called before a head is written: deals with an unread body as Go does, that is, reads a small rest and gives up
   * the connection otherwise. Returns whether the connection stays usable.
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

  /** Serves requests until the peer or the fake closes. Unexpected errors of the handler go to `report`. */
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
      // The peer did not wait for it.
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
      // A reset by the peer, or our own close.
    }
    this.#leave();
    this.#inbox.end();
  }

  /** The peer has left, as seen by a read or by a failed write. */
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
