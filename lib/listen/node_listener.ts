/**
 * The other thing that may call the handler: `node:http`. It tells when a client leaves before the response headers,
 * which `Deno.serve` does not (unless the whole request came in its first read), and it can take over a socket from
 * systemd.
 *
 * @module
 */

import { createServer, type IncomingMessage, type Server, ServerResponse } from "node:http";
import { createServer as createTlsServer, Server as TlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { SecureContextOptions } from "node:tls";
import type { Address, ClientRequest, Handler, Listener, TlsConfig } from "../http.ts";
import { AcceptWatch } from "./accept_watch.ts";

/** How long a client may take to send its request's head. */
export const HEAD_TIMEOUT_MS = 60_000;
/** Largest head of a request, as `Deno.serve` has it. */
export const HEAD_LIMIT_BYTES = 64 * 1024;

/** Most headers of a request, as `Deno.serve` has it: the time that they take grows with the square of their number. */
export const HEADERS_LIMIT = 128;

/** How `node:https` names the versions of TLS. */
const MIN_VERSIONS = { TLS12: "TLSv1.2", TLS13: "TLSv1.3" } as const;

/** Where to listen: an address, or a socket that another process has opened (systemd's socket activation). */
export type NodeAddress = Address | { readonly fd: number };

/**
 * Listens with `node:http`. Where it accepts nothing any more, it listens anew, unless the socket is another's; that it
 * does so, and why, is left as an unhandled rejection.
 *
 * @param handler Must not reject.
 * @param tls Absent: plain HTTP.
 * @param headTimeoutMs How long a client may take to send a head. It may take half as long again until that is noticed.
 * @throws {Error} Where it is not possible to listen there.
 */
export async function listenNode(
  handler: Handler,
  address: NodeAddress,
  tls?: TlsConfig,
  headTimeoutMs = HEAD_TIMEOUT_MS,
): Promise<Listener> {
  const limits = { maxHeaderSize: HEAD_LIMIT_BYTES, connectionsCheckingInterval: headTimeoutMs / 2 };
  const tlsServer = tls && createTlsServer({ ...limits, ...secureContext(tls) });
  const server = tlsServer as unknown as Server | undefined ?? createServer(limits);
  server.headersTimeout = headTimeoutMs;
  // What is beyond this it drops without a word; one more shows that there were more.
  server.maxHeadersCount = HEADERS_LIMIT + 1;
  // Uploads of models take hours, and Go's server keeps idle connections open.
  server.requestTimeout = 0;
  server.keepAliveTimeout = 0;
  const scheme = tls === undefined ? "http" : "https";
  const connections = new Connections(server);
  const take = (request: IncomingMessage, response: ServerResponse): void => {
    connections.opened(response);
    if (request.rawHeaders.length > 2 * HEADERS_LIMIT) {
      response.writeHead(431, { connection: "close" }).end();
      return;
    }
    serve(handler, scheme, request, response).catch(() => breakOff(response));
  };
  server.on("request", take);
  // These come here in place of "request". The handler refuses them as it does under `Deno.serve`.
  server.on("connect", (request: IncomingMessage, socket: Socket) => {
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    response.once("finish", () => socket.end());
    take(request, response);
  });
  const { address: hostname, port } = await open(server, address);
  connections.watch({ hostname, port }, "fd" in address);
  return {
    address: { transport: "tcp", hostname, port },
    shutdown: () => connections.shutdown(),
    abort: () => connections.abort(),
    useTls: (tls) => tlsServer?.setSecureContext(secureContext(tls)),
  };
}

async function open(server: Server, address: NodeAddress): Promise<AddressInfo> {
  const opened = Promise.withResolvers<void>();
  server.once("error", opened.reject);
  const options = "fd" in address ? { fd: address.fd } : { host: address.hostname, port: address.port };
  server.listen(options, opened.resolve);
  await opened.promise;
  server.off("error", opened.reject);
  // A connection that cannot be accepted, as without file descriptors, must not end the process.
  server.on("error", () => {});
  return server.address() as AddressInfo;
}

/** The connections of a server, and which of them have a request that is not answered. */
class Connections {
  readonly #server: Server;
  /** All of them, those that are still shaking hands included. */
  readonly #open = new Set<Socket>();
  /** Those that can carry requests, and how many are open on each. */
  readonly #requests = new Map<Socket, number>();
  /** On all of them. */
  #openRequests = 0;
  #isStopping = false;
  #watch: AcceptWatch | undefined;

  constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket: Socket) => {
      this.#open.add(socket);
      this.#watch?.accepted();
      socket.once("close", () => this.#open.delete(socket));
    });
    server.on(server instanceof TlsServer ? "secureConnection" : "connection", (socket: Socket) => {
      this.#requests.set(socket, 0);
      socket.once("close", () => this.#requests.delete(socket));
      if (this.#isStopping) socket.destroy();
    });
  }

  /** A request has come. */
  opened(response: ServerResponse): void {
    const { socket } = response.req;
    this.#requests.set(socket, (this.#requests.get(socket) ?? 0) + 1);
    this.#openRequests++;
    this.#watch?.opened();
    if (this.#isStopping) response.shouldKeepAlive = false;
    response.once("close", () => {
      this.#openRequests--;
      const count = this.#requests.get(socket);
      if (count === undefined) return;
      this.#requests.set(socket, count - 1);
      if (this.#isStopping && count === 1) socket.destroySoon();
    });
  }

  /**
   * Sees to it that connections are accepted as long as it is not told to stop.
   *
   * @param isPassed The socket is another's, and closed it would be lost.
   */
  watch({ hostname, port }: Address, isPassed: boolean): void {
    this.#watch = new AcceptWatch({
      countOpen: () => this.#open.size + this.#openRequests,
      connect: async () => (await Deno.connect({ hostname, port })).close(),
      ...!isPassed && { relisten: () => void this.#server.close().listen({ host: hostname, port }) },
      complain: (message) => void Promise.reject(stackless(message)),
    });
  }

  /** Accepts nothing more, ends what has no request, and resolves when the rest has ended. `close()` alone waits. */
  shutdown(): Promise<void> {
    this.#isStopping = true;
    this.#watch?.end();
    const closed = new Promise<void>((resolve) => void this.#server.close(() => resolve()));
    for (const [socket, count] of this.#requests) if (count === 0) socket.destroySoon();
    return closed;
  }

  abort(): void {
    this.#watch?.end();
    for (const socket of this.#open) socket.destroy();
  }
}

/**
 * An error without a stack: to write a stack of modules that were transpiled Deno opens files, and where it has no file
 * descriptors for that, it ends the process.
 */
function stackless(message: string): Error {
  return Object.assign(new Error(message), { stack: undefined });
}

function secureContext({ cert, key, minVersion }: TlsConfig): SecureContextOptions {
  return { cert, key, minVersion: MIN_VERSIONS[minVersion] };
}

async function serve(
  handler: Handler,
  scheme: string,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const left = new AbortController();
  const completed = Promise.withResolvers<void>();
  outgoing.once("close", () => {
    if (!outgoing.writableFinished) left.abort();
    completed.resolve();
  });
  // Without listeners these would end the process. That the client is gone is told by "close" as well.
  incoming.on("error", () => {});
  outgoing.on("error", () => {});
  const remoteAddr: Deno.NetAddr = {
    transport: "tcp",
    hostname: incoming.socket.remoteAddress ?? "",
    port: incoming.socket.remotePort ?? 0,
  };
  const request = clientRequest(scheme, incoming, outgoing, left.signal);
  await respond(await handler(request, { remoteAddr, completed: completed.promise }), outgoing, left.signal);
}

function clientRequest(
  scheme: string,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  signal: AbortSignal,
): ClientRequest {
  const headers = headersOf(incoming);
  const target = incoming.url ?? "/";
  // As `Deno.serve` has it too, an empty body is none, and so is that of a GET or HEAD.
  const hasBody = Number(headers.get("content-length")) > 0 || headers.has("transfer-encoding");
  const body = hasBody && incoming.method !== "GET" && incoming.method !== "HEAD" ? bodyOf(incoming, outgoing) : null;
  return {
    method: incoming.method ?? "GET",
    url: urlOf(target, `${scheme}://${headers.get("host") ?? ""}`),
    headers,
    body,
    signal,
    bytes: () => new Response(body).bytes(),
  };
}

/** As `Deno.serve` has it: the target of the request line behind the Host header, neither of them changed. */
function urlOf(target: string, origin: string): string {
  if (/^[a-z]+:\/\//i.test(target)) return target;
  return origin + (target.startsWith("/") ? target : `/${target}`);
}

function headersOf({ rawHeaders }: IncomingMessage): Headers {
  const headers = new Headers();
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? "";
    const value = rawHeaders[index + 1] ?? "";
    const before = name.toLowerCase() === "cookie" ? headers.get(name) : null;
    // The one header whose values are joined by something else than a comma (RFC 9113, 8.2.3).
    if (before !== null) headers.set(name, `${before}; ${value}`);
    else headers.append(name, value);
  }
  return headers;
}

/** The body as a byte stream that is read no faster than it is asked for. */
function bodyOf(incoming: IncomingMessage, outgoing: ServerResponse): ReadableStream<Uint8Array<ArrayBuffer>> {
  let isOver = false;
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    type: "bytes",
    start(controller): void {
      incoming.pause();
      incoming.on("data", (chunk: Uint8Array<ArrayBuffer>) => {
        if (isOver) return;
        controller.enqueue(chunk.slice());
        if ((controller.desiredSize ?? 0) <= 0) incoming.pause();
      });
      incoming.once("end", () => {
        if (isOver) return;
        isOver = true;
        controller.close();
        // A read that was waiting for bytes ends only by this.
        (controller as ReadableByteStreamController).byobRequest?.respond(0);
      });
      // The client has left, or all of the answer came before all of the request: then the rest is dropped.
      outgoing.once("close", () => {
        if (isOver) return;
        isOver = true;
        controller.error(new Error("The request is not complete"));
        incoming.resume();
      });
    },
    pull(): void {
      incoming.resume();
    },
    cancel(): void {
      // The upstream has answered without reading all of it. What still comes is dropped.
      isOver = true;
      incoming.resume();
    },
  }, { highWaterMark: 0 });
}

async function respond(response: Response, outgoing: ServerResponse, left: AbortSignal): Promise<void> {
  const { req: request } = outgoing;
  // A connection of HTTP/1.1 stays open unless it is said that it does not. A client of HTTP/1.0 wants to hear it.
  if (outgoing.shouldKeepAlive && request.httpVersion === "1.1") outgoing.removeHeader("connection");
  outgoing.writeHead(response.status, [...response.headers].flat());
  if (response.body === null) {
    outgoing.end();
    return;
  }
  // Sends the head; `flushHeaders()` would do so in UTF-8.
  outgoing.write("", "latin1");
  const reader = response.body.getReader();
  const cancel = (): void => void reader.cancel().catch(() => {});
  left.addEventListener("abort", cancel, { once: true });
  if (left.aborted) cancel();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (!outgoing.write(value) && !left.aborted) await drained(outgoing);
  }
  outgoing.end();
}

/** Resolves when the client has taken what was written, or has left. */
function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      outgoing.off("drain", settle);
      outgoing.off("close", settle);
      resolve();
    };
    outgoing.on("drain", settle);
    outgoing.on("close", settle);
  });
}

/** Sends what was written, and ends the connection without ending the response: the client must see that it broke. */
function breakOff(outgoing: ServerResponse): void {
  const { socket } = outgoing;
  if (socket === null || !outgoing.headersSent) outgoing.destroy();
  else socket.destroySoon();
}
