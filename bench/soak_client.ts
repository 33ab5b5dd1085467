/**
 * Clients of the soak, on raw TCP: requests whose responses are known byte by byte.
 *
 * @module
 */

import type { Outcome } from "../lib/observation.ts";
import { BodyDecoder, type Bulk, BulkCheck, bulkOf, chunks, patternOf, pieces, writeAll } from "./bulk.ts";
import { get, streamRequest, uploadHead } from "./cases.ts";
import { bodyOf, checkedBody, type Dialect, ERROR_BODY, modelName, type Wanted, wholeBody } from "./payloads.ts";

/** Size of the read buffer. */
const READ_BYTES = 64 * 1024;
/** Maximum size of a response head. */
const HEAD_LIMIT_BYTES = 16 * 1024;

const encoder = new TextEncoder();
const decoder = new TextDecoder("latin1");

/** Measured endpoints of the bench's upstream, by dialect. */
export const APIS: Readonly<Record<Dialect, string>> = {
  native: "chat",
  openai: "openai_chat",
  anthropic: "anthropic_messages",
};

/** Request, and its expected results. */
export interface Exchange {
  /** Request as sent; of an upload the head. */
  readonly request: string;
  readonly upload?: { readonly body: Bulk; readonly chunked: boolean };
  readonly status: number;
  readonly body: Bulk;
  /** Measured endpoint; `undefined` if the request is not measured. */
  readonly api?: string;
  /** Expected outcome if the client reads to the end. */
  readonly outcome: Outcome;
}

/** Options of {@linkcode generation}. */
export interface Generation extends Wanted {
  /** Model. Default: the bench's first. */
  readonly model?: string;
  /** OpenAI: whether the client requests usage. Default: `false`; usage requested by the exporter must be hidden. */
  readonly usage?: boolean;
  /** Whether the response is streamed. Default: `true`. */
  readonly stream?: boolean;
}

/** Returns a measured request. */
export function generation(dialect: Dialect, options: Generation = {}): Exchange {
  const { model = modelName(0), usage = false, stream = true, ...wanted } = options;
  const { num_predict: tokens = 1, token_bytes, status = 200, fails } = wanted;
  const shape = { dialect, model, tokens, usage, fails };
  const isError = status !== 200;
  return {
    request: streamRequest(dialect, model, { plain: true, ...wanted }, usage, stream),
    status,
    body: isError ? bulkOf(ERROR_BODY) : stream ? bodyOf(shape, token_bytes) : bulkOf(wholeBody(shape)),
    api: APIS[dialect],
    outcome: status >= 500 ? "server_error" : isError ? "client_error" : fails ? "stream_error" : "ok",
  };
}

/** Returns a download of that many bytes. */
export function download(bytes: number): Exchange {
  return { request: get(`/bench/download?bytes=${bytes}`), status: 200, body: patternOf(bytes), outcome: "ok" };
}

/** Returns an upload of a blob of that many bytes. */
export function upload(bytes: number, chunked: boolean): Exchange {
  return {
    request: uploadHead(`?check=${bytes}`, { bytes, chunked }),
    upload: { body: patternOf(bytes), chunked },
    status: 200,
    body: bulkOf(checkedBody(0)),
    outcome: "ok",
  };
}

/** Client with one connection, which it reuses as long as possible. */
export class Client {
  readonly #port: number;
  readonly #buffer = new Uint8Array(READ_BYTES);
  /** Bytes read and not yet consumed. */
  #unread = this.#buffer.subarray(0, 0);
  #conn: Deno.TcpConn | undefined;
  #check = new BulkCheck([]);
  #body = new BodyDecoder(0, () => {});
  #sent: Promise<void> = Promise.resolve();

  constructor(port: number) {
    this.#port = port;
  }

  /**
   * Sends a request and waits for its response head.
   *
   * @throws {Error} If the response has an unexpected status.
   */
  async begin({ request, upload, status, body }: Exchange): Promise<void> {
    const conn = this.#conn ??= await Deno.connect({ hostname: "127.0.0.1", port: this.#port });
    this.#sent = writeAll(conn, sentBytes(request, upload));
    // The error is handled where the promise is awaited; until then it must not be unhandled.
    this.#sent.catch(() => {});
    const head = await this.#head();
    const found = Number(/^HTTP\/1\.1 (\d+) /.exec(head)?.[1]);
    if (found !== status) throw new Error(`status ${found}, not ${status}`);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    this.#check = new BulkCheck(body);
    this.#body = new BodyDecoder(length === undefined ? undefined : Number(length), (bytes) => this.#check.push(bytes));
    this.#take();
  }

  /** Sends bytes without waiting for a response. */
  async send(bytes: Iterable<Uint8Array>): Promise<void> {
    const conn = this.#conn ??= await Deno.connect({ hostname: "127.0.0.1", port: this.#port });
    await writeAll(conn, bytes);
  }

  /** Reads that many bytes of the body. */
  async read(bytes: number): Promise<void> {
    while (this.#check.received < bytes && !this.#body.done) await this.#more();
  }

  /** Reads the response to its end. */
  async finish(): Promise<BulkCheck> {
    await this.read(Infinity);
    await this.#sent;
    return this.#check;
  }

  /** Disconnects. Returns the check of the body received until then. */
  disconnect(): BulkCheck {
    this.#conn?.close();
    this.#conn = undefined;
    this.#unread = this.#buffer.subarray(0, 0);
    return this.#check;
  }

  async #head(): Promise<string> {
    for (let text = ""; text.length < HEAD_LIMIT_BYTES;) {
      text += decoder.decode(this.#unread);
      const end = text.indexOf("\r\n\r\n");
      if (end >= 0) {
        this.#unread = this.#unread.subarray(this.#unread.length - (text.length - end - 4));
        return text.slice(0, end);
      }
      await this.#fill();
    }
    throw new Error(`response head exceeds ${HEAD_LIMIT_BYTES} bytes`);
  }

  async #more(): Promise<void> {
    await this.#fill();
    this.#take();
  }

  #take(): void {
    this.#unread = this.#unread.subarray(this.#body.push(this.#unread));
  }

  async #fill(): Promise<void> {
    const length = await this.#conn?.read(this.#buffer) ?? null;
    if (length === null) throw new Error("the connection was closed");
    this.#unread = this.#buffer.subarray(0, length);
  }
}

function* sentBytes(request: string, upload: Exchange["upload"]): Generator<Uint8Array> {
  yield encoder.encode(request);
  if (upload !== undefined) yield* (upload.chunked ? chunks : pieces)(upload.body);
}
