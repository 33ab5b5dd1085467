/**
 * An HTTP client that sends requests byte for byte, and returns responses as received.
 *
 * @module
 */

import { fail } from "@std/assert";
import { latin1 } from "../fake_ollama/wire.ts";

const READ_BYTES = 64 * 1024;
/** Maximum time without data from a server. */
const PATIENCE_MS = 20_000;

/** A response as received. */
export interface RawResponse {
  readonly status: number;
  /** Status line, without the line end. */
  readonly statusLine: string;
  /** In order, with the case of the names as received. */
  readonly headers: readonly (readonly [string, string])[];
  /** One character per byte. */
  readonly body: string;
  /** Chunks of the body, one character per byte. Empty without chunked encoding. */
  readonly chunks: readonly string[];
  /** "broken": the connection ended before the body was complete. */
  readonly end: "complete" | "broken";
}

/** Returns the values of a header; case does not matter. */
export function valuesOf({ headers }: Pick<RawResponse, "headers">, name: string): string[] {
  return headers.filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
}

/** Sends one request over a new connection; see {@linkcode RawClient.request}. */
export async function ask(
  port: number,
  line: string,
  headers: readonly string[] = [],
  body: string | Uint8Array | null = null,
): Promise<RawResponse> {
  using client = await RawClient.connect(port);
  await client.request(line, headers, body);
  return await client.response(line.split(" ", 1)[0]);
}

/** A connection to a server. Received data is text of one character per byte. */
export class RawClient implements Disposable {
  readonly #conn: Deno.TcpConn;
  /** Received and not yet consumed. */
  #held = "";
  #ended = false;

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
    conn.setNoDelay(true);
  }

  /** Connects to a port on localhost. */
  static async connect(port: number): Promise<RawClient> {
    return new RawClient(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  /** Sends text as UTF-8, or bytes. */
  async send(data: string | Uint8Array): Promise<void> {
    let bytes = bytesOf(data);
    while (bytes.length > 0) bytes = bytes.subarray(await this.#conn.write(bytes));
  }

  /**
   * Sends a whole request in one piece.
   *
   * @param line Request line without its version.
   * @param headers Lines; `Host` and, for a body, `Content-Length` are added where they are missing.
   */
  async request(line: string, headers: readonly string[] = [], body: string | Uint8Array | null = null): Promise<void> {
    const has = (name: string) => headers.some((header) => header.toLowerCase().startsWith(`${name}:`));
    const bytes = bytesOf(body ?? "");
    const lines = [`${line} HTTP/1.1`, ...headers];
    if (!has("host")) lines.push("Host: localhost");
    if (body !== null && !has("transfer-encoding")) lines.push(`Content-Length: ${bytes.length}`);
    const head = bytesOf(lines.join("\r\n") + "\r\n\r\n");
    const whole = new Uint8Array(head.length + bytes.length);
    whole.set(head);
    whole.set(bytes, head.length);
    await this.send(whole);
  }

  /** Waits until this text has been received, without consuming it. */
  async sees(text: string): Promise<void> {
    while (!this.#held.includes(text)) {
      if (!await this.#more()) fail(`connection ended before "${text}", after "${this.#held.slice(-500)}"`);
    }
  }

  /** Reads one response, and skips those with status 100. */
  async response(method = "POST"): Promise<RawResponse> {
    const head = await this.#until("\r\n\r\n") ?? fail(`no response, only "${this.#held.slice(0, 500)}"`);
    const [statusLine = "", ...lines] = head.slice(0, -4).split("\r\n");
    const headers = lines.map((line): readonly [string, string] => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1).trim()];
    });
    const status = Number(statusLine.split(" ")[1]);
    const response = { status, statusLine, headers, chunks: [] };
    if (status === 100) return await this.response(method);
    if (method === "HEAD" || status === 204 || status === 304) return { ...response, body: "", end: "complete" };
    if (valuesOf(response, "transfer-encoding").length > 0) return { ...response, ...await this.#chunks() };
    const length = Number(valuesOf(response, "content-length")[0] ?? Infinity);
    const body = await this.#take(length);
    return { ...response, body, end: length === Infinity || body.length === length ? "complete" : "broken" };
  }

  /** Returns everything received until the connection ends. */
  async rest(): Promise<string> {
    return await this.#take(Infinity);
  }

  /** Disconnects. */
  close(): void {
    try {
      this.#conn.close();
    } catch {
      // It was closed before.
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #chunks(): Promise<Pick<RawResponse, "chunks" | "body" | "end">> {
    const chunks: string[] = [];
    const result = (end: RawResponse["end"]) => ({ chunks, body: chunks.join(""), end });
    while (true) {
      const line = await this.#until("\r\n");
      if (line === undefined) return result("broken");
      const size = parseInt(line, 16);
      if (size === 0) return result(await this.#trailers());
      const data = await this.#take(size);
      if (data !== "") chunks.push(data);
      if (await this.#take(2) !== "\r\n") return result("broken");
    }
  }

  async #trailers(): Promise<RawResponse["end"]> {
    while (true) {
      const line = await this.#until("\r\n");
      if (line === undefined) return "broken";
      if (line === "\r\n") return "complete";
    }
  }

  /** Reads up to and including a mark, or returns `undefined` if the connection ends before it. */
  async #until(mark: string): Promise<string | undefined> {
    while (!this.#held.includes(mark)) {
      if (!await this.#more()) return undefined;
    }
    return await this.#take(this.#held.indexOf(mark) + mark.length);
  }

  async #take(length: number): Promise<string> {
    while (this.#held.length < length && await this.#more());
    const taken = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    return taken;
  }

  async #more(): Promise<boolean> {
    if (this.#ended) return false;
    const buffer = new Uint8Array(READ_BYTES);
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.close();
    }, PATIENCE_MS);
    // A reset ends a connection as an end does, only less politely.
    const count = await this.#conn.read(buffer).catch(() => null);
    clearTimeout(timer);
    if (isLate) fail(`no data within ${PATIENCE_MS} ms, after "${this.#held.slice(-500)}"`);
    this.#ended = count === null;
    if (count !== null) this.#held += latin1(buffer.subarray(0, count));
    return count !== null;
  }
}

function bytesOf(data: string | Uint8Array): Uint8Array {
  return typeof data === "string" ? new TextEncoder().encode(data) : data;
}
