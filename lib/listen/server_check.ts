/**
 * Chooses the HTTP server: `Deno.serve` where it has none of its known defects, else `node:http`. They are looked for
 * at start, so that the `Deno.serve` of a Deno that fixes them is used without a new release of this program.
 *
 * @module
 */

import { messageOf } from "../errors.ts";
import type { Handler, Listener } from "../http.ts";
import type { Config, WebServer } from "../settings/settings.ts";
import { listen } from "./deno_listener.ts";

/** Oldest Deno whose `Deno.serve` is used; the README's minimum. */
export const MIN_DENO = "2.9.6";

/** Oldest Deno with a `node:http` whose sockets have a parser, on which the listener relies. 2.7.1 has none. */
const MIN_NODE_HTTP_DENO = "2.7.14";

/** Maximum time for all checks together, in milliseconds. A check that is not over by then has failed. */
const CHECK_TIMEOUT_MS = 250;

const LOOPBACK = { hostname: "127.0.0.1", port: 0 };

/** The HTTP server to use. */
export interface ServerChoice {
  readonly server: WebServer;
  /**
   * Why `Deno.serve` should not be used, or `node:http` cannot be, for the log; `undefined` where `Deno.serve` passed
   * the checks or was not checked.
   */
  readonly defect: string | undefined;
}

/** Options of {@linkcode chooseServer}. */
export interface ChoiceOptions {
  /** Whether the listener gets a socket that another process opened, which `Deno.serve` does not support. */
  readonly isPassed: boolean;
  /** Version of the running Deno. */
  readonly version: string;
  /** Starts the listener that is checked. Default: {@linkcode listen}. */
  readonly start?: StartListener;
  /** Maximum time for all checks together, in milliseconds. Default: {@linkcode CHECK_TIMEOUT_MS}. */
  readonly timeoutMs?: number;
}

/** Starts a listener on a free port of the loopback interface. */
type StartListener = (handler: Handler) => Listener | Promise<Listener>;

/**
 * Chooses the server for a value of the setting. `Deno.serve` is checked unless `node` is set: in milliseconds where it
 * fails or passes, in `timeoutMs` at most. Never rejects.
 */
export async function chooseServer(setting: Config["webServer"], options: ChoiceOptions): Promise<ServerChoice> {
  if (isOlder(options.version, MIN_NODE_HTTP_DENO) && !options.isPassed) {
    const defect = setting === "deno" ? undefined : `node:http of Deno ${options.version} cannot be used`;
    return { server: "deno", defect };
  }
  if (setting === "node") return { server: "node", defect: undefined };
  const { isPassed, version, start = (handler) => listen(handler, LOOPBACK), timeoutMs = CHECK_TIMEOUT_MS } = options;
  const defect = isPassed
    ? "Deno.serve cannot use the socket that systemd passed"
    : isOlder(version, MIN_DENO)
    ? `Deno ${version} is older than ${MIN_DENO}`
    : await findDefect(start, timeoutMs);
  return { server: setting === "deno" || defect === undefined ? "deno" : "node", defect };
}

function isOlder(version: string, minimum: string): boolean {
  const [numbers, minimums] = [version, minimum].map((text) => text.split(".").map((part) => parseInt(part)));
  const index = minimums?.findIndex((number, index) => number !== numbers?.[index]) ?? -1;
  return index >= 0 && (numbers?.[index] ?? 0) < (minimums?.[index] ?? 0);
}

/** Returns the first defect found, for the log, or `undefined` if there is none. Leaves nothing open. */
async function findDefect(start: StartListener, timeoutMs: number): Promise<string | undefined> {
  const check = new Check();
  const late = `The check of Deno.serve took over ${timeoutMs} ms`;
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    check.end();
  }, timeoutMs);
  let listener: Listener | undefined;
  try {
    listener = await start(check.handler);
    const { port } = listener.address;
    if (!await check.servesUpgradeOffer(port)) {
      return "Deno.serve rejects requests with a body that offer an HTTP upgrade";
    }
    if (!await check.noticesDisconnect(port)) {
      return "Deno.serve does not notice clients that disconnect before the response";
    }
    return isLate ? late : undefined;
  } catch (error) {
    return isLate ? late : `The check of Deno.serve failed: ${messageOf(error)}`;
  } finally {
    clearTimeout(timer);
    check.end();
    listener?.abort();
    await listener?.shutdown();
  }
}

/** Requests that reveal defects, and the handler that they are for. The cheaper one comes first. */
class Check {
  readonly #connections: Deno.Conn[] = [];
  readonly #head = Promise.withResolvers<void>();
  readonly #body = Promise.withResolvers<void>();
  readonly #noticed = Promise.withResolvers<true>();
  readonly #ended = Promise.withResolvers<false>();

  /** Responds to POST at once, and to PUT when the client has disconnected. */
  readonly handler: Handler = async (request) => {
    if (request.method === "PUT") {
      request.signal.addEventListener("abort", () => this.#noticed.resolve(true));
      this.#head.resolve();
      await request.bytes().catch(() => {});
      this.#body.resolve();
      await Promise.race([this.#noticed.promise, this.#ended.promise]);
    }
    return new Response();
  };

  /**
   * Offers HTTP/2 with a body, as the HttpClient of the JDK does unless told otherwise. Deno 2.8.3 to 2.9.6 respond
   * with 400 and do not call the handler; a server may ignore the offer (RFC 9110, 7.8).
   */
  async servesUpgradeOffer(port: number): Promise<boolean> {
    const connection = await this.#connect(port);
    await connection.write(bytes(head("POST", ...UPGRADE_OFFER) + BODY));
    const start = new Uint8Array("HTTP/1.1 200".length);
    await connection.read(start);
    return new TextDecoder().decode(start) === "HTTP/1.1 200";
  }

  /** Sends a body after its head and disconnects. Deno 2.9.6 does not abort the request's signal then. */
  async noticesDisconnect(port: number): Promise<boolean> {
    const connection = await this.#connect(port);
    await connection.write(bytes(head("PUT")));
    await Promise.race([this.#head.promise, this.#ended.promise]);
    await connection.write(bytes(BODY));
    await Promise.race([this.#body.promise, this.#ended.promise]);
    connection.close();
    return await Promise.race([this.#noticed.promise, this.#ended.promise]);
  }

  /** Ends what is still awaited, and closes all connections. */
  end(): void {
    this.#ended.resolve(false);
    for (const connection of this.#connections) {
      try {
        connection.close();
      } catch {
        // It was closed before.
      }
    }
  }

  async #connect(port: number): Promise<Deno.Conn> {
    const connection = await Deno.connect({ ...LOOPBACK, port });
    this.#connections.push(connection);
    return connection;
  }
}

/** The headers with which the HttpClient of the JDK offers HTTP/2. */
const UPGRADE_OFFER = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAQAAP__"];

const BODY = "x";

/** The head of a request with {@linkcode BODY}. */
function head(method: string, ...headers: string[]): string {
  const lines = [`${method} / HTTP/1.1`, "Host: localhost", `Content-Length: ${BODY.length}`, ...headers];
  return lines.join("\r\n") + "\r\n\r\n";
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
