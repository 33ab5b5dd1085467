/**
 * Fake Ollama server for tests, the demo and the benchmark: all routes of Ollama with their exact bytes, configurable
 * delays, splits and faults, and a record of all requests. It follows docs/ollama-api.md, to whose sections numbers in
 * parentheses refer. Can be run by itself:
 *
 *     deno run --allow-net --allow-env tests/fake_ollama/mod.ts --port 11434 --tokens 50 --token-delay 20
 *     curl http://127.0.0.1:11434/api/chat -d '{"model":"llama3.2","messages":[{"role":"user"}]}'
 *
 * @example A test
 * ```ts
 * await using fake = await startFakeOllama({ tokenDelayMs: 5 });
 * fake.behaviour.fault = { kind: "reset", afterMessages: 3 };
 * const response = await fetch(`${fake.url}/api/chat`, { method: "POST", body });
 * const request = await fake.waitForRequest((r) => r.path === "/api/chat");
 * ```
 */

import { defaultBehaviour, type FakeBehaviour } from "./behaviour.ts";
import { errorAnswer } from "./errors.ts";
import { RouteError } from "./exchange.ts";
import { failing, gate, takenOver, withHeaders } from "./gate.ts";
import { guard } from "./guard.ts";
import { FakeConnection } from "./http.ts";
import { BadBody } from "./json.ts";
import { type Answer, bodyAnswer, type KeyedAnswer, type Plan, plan, write } from "./plan.ts";
import { RecordedRequest } from "./request.ts";
import { allowed, match } from "./routes.ts";
import { Slots } from "./slots.ts";
import { canonicalName, FakeState } from "./state.ts";
import { BadRequest, ConnectionGone } from "./wire.ts";

export * from "./behaviour.ts";
export { ConnectionGone, FakeConnection, FakeState, RecordedRequest };

const DEFAULT_WAIT_MS = 5000;
const DEFAULT_KEPT_REQUESTS = 10_000;
/** Maximum number of encoded answers kept per behaviour. */
const MAX_PLANS = 512;

/** Options of {@linkcode startFakeOllama}: listen address, kept requests, and behaviour. */
export interface FakeOllamaOptions extends Partial<FakeBehaviour> {
  /** Host name to listen on. Default 127.0.0.1. */
  hostname?: string;
  /** Port to listen on. Default 0: any free port. */
  port?: number;
  /** Maximum number of `requests`; the oldest are dropped. Default 10,000; 0 for benchmarks. */
  keptRequests?: number;
}

/** Running fake Ollama server. */
export interface FakeOllama extends AsyncDisposable {
  /** "http://127.0.0.1:PORT", without a trailing slash. */
  readonly url: string;
  readonly port: number;
  /** Received requests in order of arrival. Bodies grow as they are read. */
  readonly requests: RecordedRequest[];
  /** Number of requests since the start, kept or not. */
  readonly requestCount: number;
  /** Number of open TCP connections. */
  readonly openConnections: number;
  /** Number of TCP connections since the start. */
  readonly connectionCount: number;
  /** Current behaviour; its fields may be assigned. Open requests keep the behaviour at their arrival. */
  readonly behaviour: FakeBehaviour;
  /** Loaded models and blobs. */
  readonly state: FakeState;
  /** Errors of scripts and of the fake itself. `close()` throws the first of them. */
  readonly errors: unknown[];
  /** Returns the latest request. Throws if there is none. */
  lastRequest(): RecordedRequest;
  /**
   * Resolves with the first request, past or future, that the predicate accepts (default: any). Rejects after
   * `timeoutMs` (default 5000).
   */
  waitForRequest(
    predicate?: (request: RecordedRequest) => boolean,
    timeoutMs?: number,
  ): Promise<RecordedRequest>;
  /** Resolves with `abortedAt` of the request. Rejects if it is answered instead, or after `timeoutMs`. */
  waitForAbort(request: RecordedRequest, timeoutMs?: number): Promise<number>;
  /** Waits until no connection is open. Rejects after `timeoutMs`. */
  waitForIdle(timeoutMs?: number): Promise<void>;
  /** Restores the initial behaviour, and forgets requests, blobs and loaded models. */
  reset(): void;
  /** Closes all connections and stops. Throws the first of `errors`. */
  close(): Promise<void>;
}

/** Starts a fake Ollama server. Close it with `close()`, or with `await using`. */
// deno-lint-ignore require-await -- asynchronous, to keep the interface open for waiting.
export async function startFakeOllama(options: FakeOllamaOptions = {}): Promise<FakeOllama> {
  return new Server(options);
}

class Server implements FakeOllama {
  readonly port: number;
  readonly url: string;
  readonly requests: RecordedRequest[] = [];
  readonly errors: unknown[] = [];
  readonly behaviour: FakeBehaviour;
  readonly state: FakeState;
  requestCount = 0;
  connectionCount = 0;

  #listener: Deno.TcpListener;
  #initial: FakeBehaviour;
  #keptRequests: number;
  #current: FakeBehaviour;
  #frozen: FakeBehaviour | undefined;
  #plans = new WeakMap<FakeBehaviour, Map<string, Plan>>();
  #slots = new Slots();
  #open = new Set<FakeConnection>();
  #tasks = new Set<Promise<void>>();
  #accepting: Promise<void>;
  #watchers = new Set<() => void>();
  #closed = false;

  constructor(options: FakeOllamaOptions) {
    const { hostname = "127.0.0.1", port = 0, keptRequests, ...behaviour } = options;
    this.#keptRequests = keptRequests ?? DEFAULT_KEPT_REQUESTS;
    this.#initial = { ...defaultBehaviour(), ...behaviour };
    this.#current = { ...this.#initial };
    this.behaviour = this.#watched();
    this.state = new FakeState(this.#current.models);
    this.#listener = Deno.listen({ hostname, port });
    this.port = this.#listener.addr.port;
    this.url = `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${this.port}`;
    this.#accepting = this.#accept();
  }

  get openConnections(): number {
    return this.#open.size;
  }

  lastRequest(): RecordedRequest {
    const last = this.requests.at(-1);
    if (last === undefined) throw new Error("The fake Ollama has received no request");
    return last;
  }

  waitForRequest(
    predicate: (request: RecordedRequest) => boolean = () => true,
    timeoutMs: number = DEFAULT_WAIT_MS,
  ): Promise<RecordedRequest> {
    const seen = () => this.requests.find(predicate);
    return this.#wait(seen, timeoutMs, () => {
      const lines = this.requests.map((r) => `${r.method} ${r.target}`).join(", ");
      return `No such request within ${timeoutMs} ms, received: [${lines}]`;
    });
  }

  async waitForAbort(
    request: RecordedRequest,
    timeoutMs: number = DEFAULT_WAIT_MS,
  ): Promise<number> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<"late">((resolve) => {
      timer = setTimeout(() => resolve("late"), timeoutMs);
    });
    const end = await Promise.race([request.ended, late]);
    clearTimeout(timer);
    if (request.abortedAt !== undefined) return request.abortedAt;
    const what = end === "late" ? `not aborted within ${timeoutMs} ms` : `${end}, not aborted`;
    throw new Error(`${request.method} ${request.target} was ${what}`);
  }

  async waitForIdle(timeoutMs: number = DEFAULT_WAIT_MS): Promise<void> {
    const idle = () => this.#open.size === 0 ? true : undefined;
    await this.#wait(idle, timeoutMs, () => `${this.#open.size} connections are still open`);
  }

  reset(): void {
    Object.assign(this.#current, this.#initial);
    this.#frozen = undefined;
    this.requests.length = 0;
    this.state.forget(this.#current.models);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener.close();
    for (const connection of this.#open) connection.close();
    await this.#accepting;
    await Promise.all(this.#tasks);
    if (this.errors.length > 0) throw this.errors[0];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Returns the behaviour for tests, whose assignments discard encoded answers. */
  #watched(): FakeBehaviour {
    return new Proxy(this.#current, {
      set: (target, key, value) => {
        this.#frozen = undefined;
        return Reflect.set(target, key, value);
      },
    });
  }

  #snapshot(): FakeBehaviour {
    return this.#frozen ??= Object.freeze({ ...this.#current });
  }

  async #wait<T>(look: () => T | undefined, timeoutMs: number, late: () => string): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const watcher = () => {
      const found = look();
      if (found !== undefined) resolve(found);
    };
    this.#watchers.add(watcher);
    const timer = setTimeout(() => reject(new Error(late())), timeoutMs);
    watcher();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#watchers.delete(watcher);
    }
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher();
  }

  async #accept(): Promise<void> {
    while (!this.#closed) {
      let conn: Deno.TcpConn;
      try {
        conn = await this.#listener.accept();
      } catch {
        // The listener was closed, or a connection was reset in the accept queue.
        continue;
      }
      if (this.#closed) conn.close();
      else this.#serve(new FakeConnection(++this.connectionCount, conn));
    }
  }

  #serve(connection: FakeConnection): void {
    this.#open.add(connection);
    const task = connection.serve(
      (request, conn) => this.#handle(request, conn),
      (request) => this.#record(request),
      (error) => this.errors.push(error),
    ).finally(() => {
      this.#open.delete(connection);
      this.#tasks.delete(task);
      this.#changed();
    });
    this.#tasks.add(task);
  }

  #record(request: RecordedRequest): void {
    this.requestCount++;
    if (this.#keptRequests === 0) return;
    this.requests.push(request);
    if (this.requests.length > this.#keptRequests) this.requests.shift();
    this.#changed();
  }

  async #handle(request: RecordedRequest, connection: FakeConnection): Promise<void> {
    const before = connection.bytesWritten;
    try {
      await this.#respond(request, connection);
    } catch (error) {
      if (error instanceof ConnectionGone || error instanceof BadRequest) throw error;
      this.errors.push(error);
      // As gin's Recovery answers a panic (1).
      if (connection.bytesWritten > before) return connection.close();
      connection.closeAfterAnswer = true;
      const answer = plan(bodyAnswer(500, undefined, ""), this.#snapshot(), request.minorVersion);
      await write(answer, request, connection);
    }
  }

  async #respond(request: RecordedRequest, connection: FakeConnection): Promise<void> {
    let behaviour = this.#snapshot();
    const chosen = behaviour.choose?.(request);
    if (chosen !== undefined) behaviour = { ...behaviour, ...chosen };
    connection.writeBytes = behaviour.writeBytes;
    if (behaviour.script !== undefined) {
      if (await takenOver(behaviour.script, request, connection)) return;
    }
    const found = await this.#answer(request, connection, behaviour);
    const ready = this.#plan(found, behaviour, request.minorVersion);
    const { slots } = behaviour;
    const free = slots !== undefined && "key" in found
      ? await this.#slots.take(canonicalName(found.model), slots, connection)
      : undefined;
    try {
      await write(ready, request, connection);
    } finally {
      free?.();
    }
  }

  async #answer(
    request: RecordedRequest,
    connection: FakeConnection,
    behaviour: FakeBehaviour,
  ): Promise<Answer | KeyedAnswer> {
    const { answer, headers } = guard(request, behaviour);
    if (answer?.status === 204) return withHeaders(answer, allowed(request, behaviour.release));
    if (answer !== undefined) return answer;
    const matched = match(request, behaviour.release);
    if ("answer" in matched) return withHeaders(matched.answer, headers);
    const { route, param } = matched;
    const { behaviour: live, state } = this;
    const exchange = { request, connection, behaviour, live, state, param };
    try {
      const forced = route.gated ? await gate(exchange, route) : undefined;
      const found = forced ?? await route.handler(exchange);
      return failing(withHeaders(found, headers), route.family, behaviour);
    } catch (error) {
      if (error instanceof BadBody) return errorAnswer(route.family, 400, error.message, "middleware");
      if (!(error instanceof RouteError)) throw error;
      const { status, message, source } = error;
      return withHeaders(errorAnswer(route.family, status, message, source), [...headers, ...error.headers]);
    }
  }

  /** Returns the plan of an answer. Keyed answers are encoded once per behaviour. */
  #plan(found: Answer | KeyedAnswer, behaviour: FakeBehaviour, minorVersion: number): Plan {
    if (!("key" in found)) return plan(found, behaviour, minorVersion);
    const key = `${minorVersion}|${found.key}`;
    let plans = this.#plans.get(behaviour);
    if (plans === undefined) this.#plans.set(behaviour, plans = new Map());
    let ready = plans.get(key);
    if (ready !== undefined) return ready;
    ready = plan(found.make(), behaviour, minorVersion);
    if (plans.size >= MAX_PLANS) plans.clear();
    plans.set(key, ready);
    return ready;
  }
}

/** Command line options: name, what it sets, and help. */
const FLAGS: Record<string, { help: string; set: (o: FakeOllamaOptions, value: string) => void }> = {
  host: { help: "address to listen on (127.0.0.1)", set: (o, v) => o.hostname = v },
  port: { help: "port to listen on (11434)", set: (o, v) => o.port = Number(v) },
  tokens: { help: "output messages per response (5)", set: (o, v) => o.tokens = Number(v) },
  "token-delay": { help: "ms between tokens (20)", set: (o, v) => o.tokenDelayMs = Number(v) },
  "headers-delay": {
    help: "ms before the response head (0)",
    set: (o, v) => o.headersDelayMs = Number(v),
  },
  slots: { help: "concurrent requests per model", set: (o, v) => o.slots = Number(v) },
  thinking: { help: "thinking messages", set: (o, v) => o.thinking = Number(v) },
  release: {
    help: '"0.33" or "0.40" (0.33)',
    set: (o, v) => o.release = v === "0.40" ? v : "0.33",
  },
  "any-model": {
    help: "true: accept any model name (false)",
    set: (o, v) => o.acceptAnyModel = v === "true",
  },
  "host-check": {
    help: "false: accept any Host (true)",
    set: (o, v) => o.hostCheck = v !== "false",
  },
};

function optionsOf(args: readonly string[]): FakeOllamaOptions | undefined {
  const options: FakeOllamaOptions = { port: 11434, tokenDelayMs: 20, keptRequests: 0 };
  const rest = args.flatMap((arg) => arg.startsWith("--") ? arg.split(/=(.*)/s, 2) : [arg]);
  for (let at = 0; at < rest.length; at += 2) {
    const flag = FLAGS[rest[at]?.replace(/^--/, "") ?? ""];
    const value = rest[at + 1];
    if (flag === undefined || value === undefined) return undefined;
    flag.set(options, value);
  }
  return options;
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
}

if (import.meta.main) {
  const options = optionsOf(Deno.args);
  if (options === undefined) {
    const rows = Object.entries(FLAGS).map(([name, { help }]) => `  --${name.padEnd(14)} ${help}`);
    print(["Usage: mod.ts [--flag value]...", ...rows].join("\n"));
    Deno.exit(2);
  }
  const fake = await startFakeOllama(options);
  print(`Listening on ${fake.url}`);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => fake.close().finally(() => Deno.exit(0)));
  }
}
