/**
 * HTTP/1.1 on raw TCP, for both ends of a connection, and the client that all loads share.
 *
 * @module
 */

import { type Bulk, BulkCheck, chunks, pieces } from "./bulk.ts";

/** Size of the read buffer. */
const READ_BYTES = 64 * 1024;
/** Maximum size of a message head. */
const HEAD_LIMIT_BYTES = 16 * 1024;

const CR = 13;
const LF = 10;

const encoder = new TextEncoder();
const decoder = new TextDecoder("latin1");

/** Message that is sent. */
export interface Sent {
  /** Request as sent; of an upload the head. */
  readonly request: string;
  readonly upload?: { readonly body: Bulk; readonly chunked: boolean } | undefined;
  /** Expected status. */
  readonly status: number;
  /** Expected body. */
  readonly body: Bulk;
}

/** One end of a connection: reads one message after the other. */
export class Wire {
  readonly #conn: Deno.TcpConn;
  readonly #buffer: Uint8Array;
  /** Bytes read and not yet consumed. */
  #unread: Uint8Array;
  #take: (bytes: Uint8Array) => void = () => {};
  #isChunked = false;
  /** Remaining bytes of the chunk or of the body. Negative: after the last chunk, with a blank line remaining. */
  #rest = 0;
  /** Digits of a chunk's size so far; `undefined` inside a chunk or a body with a length. */
  #size: string | undefined;
  /** Whether the body has been read to its end. */
  isDone = true;

  constructor(conn: Deno.TcpConn, readBytes = READ_BYTES) {
    conn.setNoDelay(true);
    this.#conn = conn;
    this.#buffer = new Uint8Array(readBytes);
    this.#unread = this.#buffer.subarray(0, 0);
  }

  /** Reads a message head, or returns `undefined` if the connection has ended before it. */
  async head(): Promise<string | undefined> {
    for (let text = ""; text.length < HEAD_LIMIT_BYTES;) {
      text += decoder.decode(this.#unread);
      const end = text.indexOf("\r\n\r\n");
      if (end >= 0) {
        this.#unread = this.#unread.subarray(this.#unread.length - (text.length - end - 4));
        return text.slice(0, end);
      }
      if (!await this.#fill()) return undefined;
    }
    throw new Error(`message head exceeds ${HEAD_LIMIT_BYTES} bytes`);
  }

  /** Begins the body that follows a head, with the bytes of it that have been read. */
  beginBody(head: string, take: (bytes: Uint8Array) => void): void {
    this.#take = take;
    this.#isChunked = /\r\ntransfer-encoding: *chunked/i.test(head);
    this.#rest = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
    this.#size = this.#isChunked ? "" : undefined;
    this.isDone = !this.#isChunked && this.#rest === 0;
    this.#decode();
  }

  /**
   * Reads more of the body.
   *
   * @throws {Error} If the connection has ended.
   */
  async more(): Promise<void> {
    if (!await this.#fill()) throw new Error("the connection was closed");
    this.#decode();
  }

  /** Writes all of these bytes. */
  async write(parts: Iterable<Uint8Array>): Promise<void> {
    for (const bytes of parts) {
      for (let written = 0; written < bytes.length;) written += await this.#conn.write(bytes.subarray(written));
    }
  }

  close(): void {
    try {
      this.#conn.close();
    } catch {
      // Already closed.
    }
  }

  #decode(): void {
    const bytes = this.#unread;
    let at = 0;
    while (at < bytes.length && !this.isDone) {
      if (this.#size !== undefined) this.#sizeByte(bytes[at++] as number);
      else at += this.#data(bytes.subarray(at, at + this.#rest));
    }
    this.#unread = bytes.subarray(at);
  }

  #data(part: Uint8Array): number {
    this.#take(part);
    this.#rest -= part.length;
    if (this.#rest > 0) return part.length;
    if (this.#isChunked) this.#size = "";
    else this.isDone = true;
    return part.length;
  }

  /** Takes a byte between chunks: the line end after one, the size of the next, or the end after the last. */
  #sizeByte(byte: number): void {
    if (byte === CR) return;
    if (byte !== LF) this.#size += String.fromCharCode(byte);
    // The line feed of the previous chunk.
    else if (this.#size === "") this.isDone = this.#rest < 0;
    else {
      const size = parseInt(this.#size ?? "", 16);
      if (!(size >= 0)) throw new Error(`invalid chunk size: ${JSON.stringify(this.#size)}`);
      this.#rest = size === 0 ? -1 : size;
      this.#size = size === 0 ? "" : undefined;
    }
  }

  async #fill(): Promise<boolean> {
    const count = await this.#conn.read(this.#buffer);
    this.#unread = this.#buffer.subarray(0, count ?? 0);
    return count !== null;
  }
}

/** Client with one connection, which it reuses as long as possible. */
export class Client {
  readonly #port: number;
  readonly #readBytes: number | undefined;
  #wire: Wire | undefined;
  #check = new BulkCheck([]);
  #keepsAlive = true;
  #sent: Promise<void> = Promise.resolve();

  constructor(port: number, readBytes?: number) {
    this.#port = port;
    this.#readBytes = readBytes;
  }

  /**
   * Sends a request and waits for its response head.
   *
   * @param take Called with the bytes of the body. Default: they are compared with the expected body.
   * @throws {Error} If the response has an unexpected status.
   */
  async begin({ request, upload, status, body }: Sent, take?: (bytes: Uint8Array) => void): Promise<void> {
    if (!this.#keepsAlive) this.disconnect();
    const wire = await this.#connected();
    this.#sent = wire.write(sentBytes(request, upload));
    // The error is handled where the promise is awaited; until then it must not be unhandled.
    this.#sent.catch(() => {});
    const head = await wire.head();
    if (head === undefined) throw new Error("the connection was closed");
    const found = Number(/^HTTP\/1\.1 (\d+) /.exec(head)?.[1]);
    if (found !== status) throw new Error(`status ${found}, not ${status}`);
    this.#keepsAlive = !/\r\nconnection: *close/i.test(head);
    const check = this.#check = new BulkCheck(body);
    wire.beginBody(head, take ?? ((bytes) => check.push(bytes)));
  }

  /** Sends bytes without waiting for a response. */
  async send(parts: Iterable<Uint8Array>): Promise<void> {
    await (await this.#connected()).write(parts);
  }

  /** Reads that many bytes of the body, or to its end. */
  async read(bytes: number): Promise<void> {
    while (this.#wire?.isDone === false && this.#check.received < bytes) await this.#wire.more();
  }

  /** Reads the response to its end. */
  async finish(): Promise<BulkCheck> {
    await this.read(Infinity);
    await this.#sent;
    return this.#check;
  }

  /** Disconnects. Returns the check of the body received until then. */
  disconnect(): BulkCheck {
    this.#wire?.close();
    this.#wire = undefined;
    this.#keepsAlive = true;
    return this.#check;
  }

  async #connected(): Promise<Wire> {
    return this.#wire ??= new Wire(
      await Deno.connect({ hostname: "127.0.0.1", port: this.#port }),
      this.#readBytes,
    );
  }
}

function* sentBytes(request: string, upload: Sent["upload"]): Generator<Uint8Array> {
  yield encoder.encode(request);
  if (upload !== undefined) yield* (upload.chunked ? chunks : pieces)(upload.body);
}
