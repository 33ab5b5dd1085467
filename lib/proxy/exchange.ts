/**
 * One request from its arrival to the {@linkcode Observation} that it becomes.
 *
 * @module
 */

import type { Observation, Observe, OpenRequest, OpenStreams, Outcome, UpstreamError } from "../observation.ts";
import { type Answer, AnswerReader, emptyAnswer } from "../reading/answer_reader.ts";
import type { Endpoint } from "../reading/endpoints.ts";
import { ErrorReader } from "../reading/error_reader.ts";
import { framingKind } from "../reading/framing.ts";
import type { RequestBodyFacts } from "./request_body.ts";
import type { BodyEnd, Watcher } from "./tap.ts";
import { isAbort, upstreamErrorOf } from "./upstream_errors.ts";

/** Status of a request whose client disconnected before there was one, as in nginx and Caddy. */
export const CLIENT_CLOSED_REQUEST = 499;
/** Status of requests that Ollama rejects by their content. */
const BAD_REQUEST = 400;

/** What exchanges report to. */
export interface ExchangeOptions {
  /** Called once per request, when it has ended. */
  readonly observe: Observe;
  /** The measured requests that have not ended; an exchange adds and removes itself. */
  readonly openRequests: Set<OpenRequest>;
  /** Those of them whose response is a stream that has begun; an exchange adds and removes itself. Default: none. */
  readonly openStreams?: OpenStreams;
  /** Called when the model is known that a measured request names, before the request is sent. Default: ignored. */
  readonly onModel?: (name: string) => void;
  /** Called with an exception of our own code; the bytes were forwarded all the same. */
  readonly internalError: (error: unknown) => void;
}

/** The part of a request's head that its observation has. */
export interface RequestSummary {
  readonly method: string;
  readonly traceId: string | undefined;
  readonly client: string | undefined;
}

/** Keeps clock, status and outcome of one request. Watches the response's body. */
export class Exchange implements Watcher {
  readonly #endpoint: Endpoint;
  readonly #request: RequestSummary;
  readonly #options: ExchangeOptions;
  readonly #startedAt = Date.now();
  readonly #start = performance.now();
  readonly #open: OpenRequest | undefined;
  #body: RequestBodyFacts | undefined;
  #status = CLIENT_CLOSED_REQUEST;
  /** Whether the response is a stream of messages; `undefined` where its status is 4xx or 5xx, or there is none. */
  #isStreamed: boolean | undefined;
  #reader: AnswerReader | undefined;
  #errorReader: ErrorReader | undefined;
  #responseBytes = 0;
  /** When bytes were last forwarded to the client. */
  #forwardedAt = 0;
  #upstreamError: UpstreamError | undefined;
  #hasEnded = false;

  constructor(endpoint: Endpoint, request: RequestSummary, options: ExchangeOptions) {
    this.#endpoint = endpoint;
    this.#request = request;
    this.#options = options;
    if (endpoint.api === undefined) return;
    const model = (): string | undefined => this.#body?.model;
    this.#open = {
      api: endpoint.api,
      get model(): string | undefined {
        return model();
      },
      client: request.client,
      waiting: true,
    };
    options.openRequests.add(this.#open);
  }

  /** The request's body is on its way upstream. The facts may change until the body ends. */
  onRequestBody(facts: RequestBodyFacts): void {
    this.#body = facts;
    if (this.#open !== undefined && facts.model !== undefined) this.#options.onModel?.(facts.model);
  }

  /** The response headers were received. Returns whether the body is a stream of messages. */
  onResponse(response: Response): boolean {
    this.#status = response.status;
    if (this.#open !== undefined) this.#open.waiting = false;
    const { api, dialect } = this.#endpoint;
    if (response.status < 400) this.#isStreamed = false;
    if (dialect === undefined || response.headers.has("content-encoding")) return false;
    const kind = framingKind(response.headers.get("content-type"));
    if (api !== undefined && response.status === BAD_REQUEST && kind === "json") this.#errorReader = new ErrorReader();
    if (kind === undefined || !response.ok) return false;
    this.#reader = new AnswerReader(kind, dialect);
    this.#isStreamed = kind !== "json";
    if (this.#isStreamed && this.#open !== undefined) this.#options.openStreams?.add(this.#open);
    return this.#isStreamed;
  }

  /** No response can be forwarded; the client gets this status instead. */
  fail(status: number, error?: UpstreamError): void {
    this.#status = status;
    this.#upstreamError = error;
    this.end("complete");
  }

  chunk(bytes: Uint8Array, forwarded: number): void {
    const now = performance.now();
    this.#responseBytes += forwarded;
    if (forwarded > 0) this.#forwardedAt = now;
    try {
      this.#reader?.push(bytes, now, forwarded > 0);
      this.#errorReader?.push(bytes);
    } catch (error) {
      this.#options.internalError(error);
    }
  }

  end(bodyEnd: BodyEnd, error?: unknown): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const endedAt = performance.now();
    if (this.#open !== undefined) {
      this.#options.openRequests.delete(this.#open);
      this.#options.openStreams?.delete(this.#open);
    }
    const end = bodyEnd === "broken" && isAbort(error) ? "cancelled" : bodyEnd;
    if (end === "broken") this.#upstreamError = upstreamErrorOf(error);
    if (this.#reader === undefined) this.#observe(end, endedAt, emptyAnswer());
    else this.#finish(this.#reader, end, endedAt);
  }

  async #finish(reader: AnswerReader, end: BodyEnd, endedAt: number): Promise<void> {
    let answer: Answer = emptyAnswer();
    try {
      answer = await reader.end(end === "complete");
    } catch (error) {
      this.#options.internalError(error);
    }
    this.#observe(end, endedAt, answer);
  }

  #observe(end: BodyEnd, endedAt: number, answer: Answer): void {
    try {
      this.#options.observe(this.#observation(end, endedAt, answer));
    } catch (error) {
      this.#options.internalError(error);
    }
  }

  #observation(end: BodyEnd, endedAt: number, answer: Answer): Observation {
    const { route, api, operation, hasUsage } = this.#endpoint;
    return {
      startedAt: this.#startedAt,
      arrivedAt: this.#start,
      route,
      method: this.#request.method,
      api,
      operation,
      requestedModel: this.#body?.model,
      options: this.#body?.options,
      client: this.#request.client,
      status: this.#status,
      outcome: this.#outcome(end, answer),
      isStream: this.#isStreamed ?? this.#body?.isStream,
      durationSeconds: (endedAt - this.#start) / 1000,
      firstOutputSeconds: this.#sinceStart(answer.firstOutputAt),
      lastOutputSeconds: this.#sinceStart(answer.lastOutputAt),
      outputMessages: this.#isStreamed ? answer.outputMessages : undefined,
      requestBytes: this.#body?.bytes ?? 0,
      responseBytes: this.#responseBytes,
      usageExpected: hasUsage === true && !answer.hasNoUsage,
      report: answer.report,
      hasTwoRuns: answer.hasThinking && this.#body?.hasFormat === true,
      hasEstimatedPrompt: answer.hasEstimatedPrompt,
      isContextExceeded: this.#errorReader?.end() ?? false,
      parseErrors: answer.parseErrors,
      upstreamError: this.#upstreamError,
      traceId: this.#request.traceId,
    };
  }

  /** Seconds from the request's arrival; streams only. */
  #sinceStart(at: number | undefined): number | undefined {
    return this.#isStreamed && at !== undefined ? (at - this.#start) / 1000 : undefined;
  }

  #outcome(end: BodyEnd, answer: Answer): Outcome {
    if (end === "complete" && this.#upstreamError !== undefined) return "upstream_unreachable";
    if (this.#status === CLIENT_CLOSED_REQUEST && end === "cancelled") return "client_closed";
    if (this.#status >= 500) return "server_error";
    if (this.#status >= 400) return "client_error";
    if (answer.hasFailed) return "stream_error";
    const { terminatedAt } = answer;
    // A client may disconnect as soon as it has what it wants; what it got was complete.
    if (terminatedAt !== undefined && (end !== "cancelled" || terminatedAt <= this.#forwardedAt)) return "ok";
    if (end === "cancelled") return "client_closed";
    if (end === "broken") return "upstream_broken";
    return this.#isStreamed || answer.isUnfinished ? "incomplete" : "ok";
  }
}
