/**
 * One request on its way: what is seen of it, until it becomes an {@linkcode Observation}.
 *
 * @module
 */

import { createFraming, type Framing, framingKind, type MessageSink } from "../reading/framing.ts";
import {
  emptyReport,
  type Observation,
  type Observe,
  type OpenRequest,
  type Outcome,
  type UpstreamError,
} from "../observation.ts";
import { Reading } from "../reading/answer_reader.ts";
import type { Endpoint } from "../reading/endpoints.ts";
import type { Watcher } from "./tap.ts";
import { upstreamErrorOf } from "./upstream_errors.ts";

/** How the exchange of bytes with the client ended. */
type End = "complete" | "broken" | "cancelled" | "unreachable";

/** Status of a request whose client left before there was one, as nginx and Caddy have it. */
export const CLIENT_CLOSED_REQUEST = 499;

/** What exchanges report to. */
export interface ExchangeOptions {
  /** Called once for each request, when it has ended. */
  readonly observe: Observe;
  /** The measured requests that have not ended; an exchange enters itself and takes itself out. */
  readonly openRequests: Set<OpenRequest>;
  /** Called with an exception of our own code. The bytes went on all the same. */
  readonly internalError: (error: unknown) => void;
}

/** What of a request's head goes into its observation. */
export interface RequestSummary {
  readonly method: string;
  readonly traceId: string | undefined;
}

/** Gathers what is seen of one request, and observes it exactly once. */
export class Exchange implements Watcher, MessageSink {
  readonly endpoint: Endpoint;
  readonly #options: ExchangeOptions;
  readonly #request: RequestSummary;
  readonly #startedAt = Date.now();
  readonly #start = performance.now();
  readonly #open: OpenRequest | undefined;
  #status = CLIENT_CLOSED_REQUEST;
  #isStreamed = false;
  #framing: Framing | undefined;
  #reading: Reading | undefined;
  #firstOutputAt: number | undefined;
  #lastOutputAt: number | undefined;
  #upstreamError: UpstreamError | undefined;
  #ended: End | undefined;
  /** Body bytes received from the client. */
  requestBytes = 0;
  /** Body bytes passed to the client. */
  responseBytes = 0;

  constructor(endpoint: Endpoint, request: RequestSummary, options: ExchangeOptions) {
    this.endpoint = endpoint;
    this.#options = options;
    this.#request = request;
    if (endpoint.api === undefined) return;
    this.#open = { api: endpoint.api, model: undefined, waiting: true };
    options.openRequests.add(this.#open);
  }

  /** Takes an exception of our own code; the bytes go on all the same. */
  get internalError(): (error: unknown) => void {
    return this.#options.internalError;
  }

  /** The model that the request names, as it is spelt there. */
  named(model: string): void {
    if (this.#open !== undefined) this.#open.model = model;
  }

  /** The response headers have come. */
  answered(response: Response): void {
    this.#status = response.status;
    if (this.#open !== undefined) this.#open.waiting = false;
    const { dialect } = this.endpoint;
    if (dialect === undefined || !response.ok || response.headers.has("content-encoding")) return;
    const kind = framingKind(response.headers.get("content-type"));
    if (kind === undefined) return;
    this.#isStreamed = kind !== "json";
    this.#reading = new Reading(dialect);
    this.#framing = createFraming(kind, this, dialect);
  }

  /** The answer comes as a stream of messages. */
  get isStreamed(): boolean {
    return this.#isStreamed;
  }

  chunk(bytes: Uint8Array, passed: number): void {
    this.responseBytes += passed;
    if (this.#framing === undefined) return;
    try {
      this.#framing.push(bytes, performance.now());
    } catch (error) {
      this.#options.internalError(error);
    }
  }

  complete(): void {
    this.#end("complete");
  }

  broken(error: unknown): void {
    // `fetch` gets the signal of the client's leaving, now and then before the body's reader is told of it.
    if (error instanceof DOMException && error.name === "AbortError") return this.cancelled();
    this.#upstreamError = upstreamErrorOf(error);
    this.#end("broken");
  }

  cancelled(): void {
    this.#end("cancelled");
  }

  /** No response came; the client gets this status instead. */
  unreachable(status: number, error: UpstreamError): void {
    this.#status = status;
    this.#upstreamError = error;
    this.#end("unreachable");
  }

  /** Our own code failed before a response came; the client gets this status instead. */
  failed(status: number): void {
    this.#status = status;
    this.#end("complete");
  }

  message(message: unknown, at: number): boolean {
    const hasOutput = this.#reading?.read(message) ?? false;
    if (hasOutput) this.quiet(at);
    return hasOutput;
  }

  quiet(at: number): void {
    this.#firstOutputAt ??= at;
    this.#lastOutputAt = at;
  }

  parseError(reason: Parameters<Reading["parseError"]>[0]): void {
    // What broke off in the middle of a message is told by the outcome; that message is not at fault.
    if (this.#ended === undefined || this.#ended === "complete") this.#reading?.parseError(reason);
  }

  #end(end: End): void {
    if (this.#ended !== undefined) return;
    this.#ended = end;
    const endedAt = performance.now();
    if (this.#open !== undefined) this.#options.openRequests.delete(this.#open);
    const framing = this.#framing;
    if (framing === undefined) this.#observe(end, endedAt);
    else {
      Promise.try(() => framing.end())
        .catch(this.#options.internalError)
        .finally(() => this.#observe(end, endedAt));
    }
  }

  #observe(end: End, endedAt: number): void {
    try {
      this.#options.observe(this.#observation(end, endedAt));
    } catch (error) {
      this.#options.internalError(error);
    }
  }

  #observation(end: End, endedAt: number): Observation {
    const { route, api, operation, hasUsage } = this.endpoint;
    const reading = this.#reading;
    return {
      startedAt: this.#startedAt,
      route,
      method: this.#request.method,
      api,
      operation,
      requestedModel: this.#open?.model,
      status: this.#status,
      outcome: this.#outcome(end),
      streamed: this.#isStreamed,
      durationSeconds: (endedAt - this.#start) / 1000,
      firstOutputSeconds: this.#since(this.#firstOutputAt),
      lastOutputSeconds: this.#since(this.#lastOutputAt),
      requestBytes: this.requestBytes,
      responseBytes: this.responseBytes,
      usageExpected: hasUsage === true && reading?.countless !== true,
      report: reading?.report ?? emptyReport(),
      parseErrors: reading?.parseErrors ?? {},
      upstreamError: this.#upstreamError,
      traceId: this.#request.traceId,
    };
  }

  /** Seconds from the request's arrival, for what came in a stream. */
  #since(at: number | undefined): number | undefined {
    return this.#isStreamed && at !== undefined ? (at - this.#start) / 1000 : undefined;
  }

  #outcome(end: End): Outcome {
    if (end === "unreachable") return "upstream_unreachable";
    if (this.#status === CLIENT_CLOSED_REQUEST && end === "cancelled") return "client_closed";
    if (this.#status >= 500) return "server_error";
    if (this.#status >= 400) return "client_error";
    if (this.#reading?.failed) return "stream_error";
    // A client may leave as soon as it has what it wants; what it got was complete.
    if (this.#reading?.terminal) return "ok";
    if (end === "cancelled") return "client_closed";
    if (end === "broken") return "upstream_broken";
    return this.#isStreamed || this.#reading?.unfinished ? "incomplete" : "ok";
  }
}
