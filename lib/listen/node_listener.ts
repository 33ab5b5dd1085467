/**
 * HTTP listener on `node:http`. It detects clients that disconnect before the response headers, which `Deno.serve` does
 * only if the whole request came in its first read, and supports systemd socket activation.
 *
 * @module
 */

import { createServer, type IncomingMessage, type Server, ServerResponse } from "node:http";
import { createServer as createTlsServer, Server as TlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { SecureContextOptions } from "node:tls";
import type { Address, Handler, Listener, TlsConfig } from "../http.ts";
import { AcceptWatch } from "./accept_watch.ts";
import { clientRequest } from "./node_request.ts";
import { abortResponse, sendResponse } from "./node_response.ts";
import { Pipeline, type PipelinedBytes } from "./pipeline.ts";

/** Timeout of a request's headers, in milliseconds. */
export const HEAD_TIMEOUT_MS = 60_000;
/** Maximum size of a request's headers, in bytes; the same as of `Deno.serve`. */
export const HEAD_LIMIT_BYTES = 64 * 1024;

/** Maximum number of headers, the same as of `Deno.serve`: `Headers` takes time quadratic in their number. */
export const HEADERS_LIMIT = 128;

/** Status of a response to an unknown `Expect` header, as from Ollama (`net/http` of Go). */
const EXPECTATION_FAILED = 417;

/** TLS versions as `node:https` names them. */
const MIN_VERSIONS = { TLS12: "TLSv1.2", TLS13: "TLSv1.3" } as const;

/** An address to listen on, or the descriptor of a socket opened by another process (systemd socket activation). */
export type NodeAddress = Address | { readonly fd: number };

/**
 * Listens with `node:http`. If the server stops accepting connections, listens again, unless the socket was opened by
 * another process. The reason is reported as an unhandled rejection.
 *
 * @param handler Must not reject.
 * @param tls Default: plain HTTP.
 * @param headTimeoutMs Timeout of a request's headers, in milliseconds. It takes up to 1.5 times as long to detect.
 * @throws {Error} If the address cannot be listened on.
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
  // Further headers are dropped silently; one above the limit shows that it was exceeded.
  server.maxHeadersCount = HEADERS_LIMIT + 1;
  // Model uploads take hours, and Ollama keeps idle connections open.
  server.requestTimeout = 0;
  server.keepAliveTimeout = 0;
  const scheme = tls === undefined ? "http" : "https";
  const connections = new Connections(server);
  const onRequest = (request: IncomingMessage, response: ServerResponse, status = rejectionOf(request)): void => {
    connections.onRequest(request, response);
    if (status !== undefined) response.writeHead(status, { connection: "close", "content-length": 0 }).end();
    else serve(handler, scheme, request, response).catch(() => abortResponse(response));
  };
  server.on("request", onRequest);
  server.on("checkExpectation", (request, response) => onRequest(request, response, EXPECTATION_FAILED));
  // CONNECT has an event of its own. The handler rejects it, as with `Deno.serve`.
  server.on("connect", (request: IncomingMessage, socket: Socket) => {
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    response.once("finish", () => socket.end());
    // The server has taken its listeners back; an unhandled error would end the process.
    socket.on("error", () => {});
    onRequest(request, response);
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
  // Failing to accept a connection, such as for lack of file descriptors, must not end the process.
  server.on("error", () => {});
  return server.address() as AddressInfo;
}

/** Returns the status with which to reject a request that no handler may see, or `undefined`. */
function rejectionOf({ rawHeaders, httpVersionMajor, headers }: IncomingMessage): number | undefined {
  if (rawHeaders.length > 2 * HEADERS_LIMIT) return 431;
  // The parser accepts `HTTP/2.0` and `HTTP/0.9` in the request line.
  if (httpVersionMajor !== 1) return 505;
  // The end of such a body cannot be known (RFC 9112, 6.3); the parser notices only after the head.
  const coding = headers["transfer-encoding"];
  return coding === undefined || /(^|[\s,])chunked\s*$/i.test(coding) ? undefined : 400;
}

/** Open connections and requests of a server. */
class Connections {
  readonly #server: Server;
  /** All connections, including those in the TLS handshake. */
  readonly #open = new Set<Socket>();
  /** Requests by connection that can carry some. */
  readonly #pipelines = new Map<Socket, Pipeline>();
  readonly #pipelined: PipelinedBytes = { kept: 0 };
  /** Number of open requests of all connections. */
  #openRequests = 0;
  #isStopping = false;
  #watch: AcceptWatch | undefined;

  constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket: Socket) => {
      this.#open.add(socket);
      this.#watch?.onConnection();
      socket.once("close", () => this.#open.delete(socket));
    });
    server.on(server instanceof TlsServer ? "secureConnection" : "connection", (socket: Socket) => {
      this.#pipelines.set(socket, new Pipeline(socket, this.#pipelined));
      socket.once("close", () => this.#pipelines.delete(socket));
      if (this.#isStopping) socket.destroy();
    });
  }

  /** Registers a request until its response is closed. */
  onRequest(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    this.#openRequests++;
    this.#watch?.onRequest();
    if (this.#isStopping) response.shouldKeepAlive = false;
    response.once("close", () => {
      this.#openRequests--;
      if (this.#isStopping) socket.destroySoon();
    });
    this.#pipelines.get(socket)?.onRequest(request, response);
  }

  /**
   * Watches that connections are accepted until shutdown.
   *
   * @param isPassed Whether the socket was opened by another process: it could not be reopened.
   */
  watch({ hostname, port }: Address, isPassed: boolean): void {
    this.#watch = new AcceptWatch({
      countOpen: () => this.#open.size + this.#openRequests,
      connect: async () => (await Deno.connect({ hostname, port })).close(),
      ...!isPassed && { relisten: () => void this.#server.close().listen({ host: hostname, port }) },
      report: (message) => void Promise.reject(stackless(message)),
    });
  }

  /** Stops listening, closes idle connections, which `close()` does not, and resolves when all requests have ended. */
  shutdown(): Promise<void> {
    this.#isStopping = true;
    this.#watch?.stop();
    const closed = new Promise<void>((resolve) => void this.#server.close(() => resolve()));
    for (const [socket, { isResponding }] of this.#pipelines) if (!isResponding) socket.destroySoon();
    return closed;
  }

  abort(): void {
    this.#watch?.stop();
    for (const socket of this.#open) socket.destroy();
  }
}

/** Returns an error without a stack: formatting one opens source maps, and without file descriptors Deno exits. */
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
  const disconnected = new AbortController();
  const completed = Promise.withResolvers<void>();
  outgoing.once("close", () => {
    if (!outgoing.writableFinished) disconnected.abort();
    completed.resolve();
  });
  // Unhandled "error" events would end the process; "close" follows them.
  incoming.on("error", () => {});
  outgoing.on("error", () => {});
  const remoteAddr: Deno.NetAddr = {
    transport: "tcp",
    hostname: incoming.socket.remoteAddress ?? "",
    port: incoming.socket.remotePort ?? 0,
  };
  const request = clientRequest(scheme, incoming, outgoing, disconnected.signal);
  await sendResponse(
    await handler(request, { remoteAddr, completed: completed.promise }),
    outgoing,
    disconnected.signal,
  );
}
