/**
 * Probes of the status endpoints of Ollama (docs/ollama-api.md 6.1 to 6.3).
 *
 * @module
 */

import { describe } from "../errors.ts";
import type { Fetch } from "../http.ts";
import type { HeadersFile } from "./headers_file.ts";
import {
  type LoadedList,
  parseInstalled,
  parseLoaded,
  parseVersion,
  type Probe,
  type ProbeResult,
  type ProbeResults,
  type ServerState,
  serverState,
} from "./state.ts";

/** Maximum length of a response, in characters. Long lists of models have a few hundred thousand. */
export const ANSWER_LIMIT_CHARACTERS = 16 * 1024 * 1024;

const MILLISECONDS_PER_SECOND = 1000;

/** Responses of a proxy that wants credentials, or of Ollama, which has none, to a host name that it does not allow. */
const UNAUTHORIZED = new Set([401, 403]);

/** Why a probe failed. */
export const PROBE_ERRORS = ["timeout", "connection", "unauthorized", "status", "invalid_response"] as const;
/** Why a probe failed. */
export type ProbeError = typeof PROBE_ERRORS[number];

/** A response that is not the expected one. */
class UnexpectedResponse extends Error {
  override readonly name = "UnexpectedResponse";
  readonly reason: ProbeError;

  constructor(reason: ProbeError, message: string) {
    super(message);
    this.reason = reason;
  }
}

const PATHS = { version: "/api/version", ps: "/api/ps", tags: "/api/tags" } as const satisfies Record<Probe, string>;

/** Options of {@linkcode Ollama}. */
interface OllamaOptions {
  /** Base URL of Ollama, with a path if it has one. */
  readonly upstream: URL;
  readonly fetch: Fetch;
  readonly client: Deno.HttpClient;
  /** Headers to add to each probe. Default: none. */
  readonly headersFile?: HeadersFile;
  /** Timeout of each probe, in milliseconds. */
  readonly timeoutMs: number;
  /** Called at the end of each ps probe; `undefined` if it failed. Default: ignored. */
  readonly onLoaded?: (list: LoadedList | undefined) => void;
  /** Counts a failed probe, including one that no caller waits for any longer. Default: it is not counted. */
  readonly countError?: (probe: Probe, reason: ProbeError) => void;
}

/** The probes in flight, shared by all callers that wait for them. */
interface Round {
  /** Results of the probes that have ended. */
  readonly results: { -readonly [Name in Probe]?: ProbeResults[Name] };
  /** Resolves when all probes have ended. */
  readonly ended: Promise<unknown>;
  /** Cancels the probes. */
  readonly controller: AbortController;
  callers: number;
}

/** Fetches the state of an Ollama server. */
export class Ollama {
  readonly #options: OllamaOptions;
  #round: Round | undefined;
  #lastState: ServerState | undefined;

  constructor(options: OllamaOptions) {
    this.#options = options;
  }

  /**
   * Fetches the version of the server.
   *
   * @throws {Error} If there is no valid response within the timeout. The message is one line.
   */
  async version(): Promise<string> {
    const { answer, error } = await this.#probe("version", parseVersion, new AbortController());
    if (answer === undefined) throw new Error(error);
    return answer;
  }

  /**
   * Probes the server, or joins the probes in flight. A probe that takes longer than the limit has failed in the
   * returned state only; it is canceled when no other caller waits for it.
   *
   * @param limitMs Maximum time to wait, in milliseconds. Default: the timeout of the probes.
   */
  async fetchState(limitMs = Infinity): Promise<ServerState> {
    const startedAt = performance.now();
    const round = this.#round ??= this.#startRound();
    round.callers++;
    const hasEnded = await this.#endsWithin(limitMs, round);
    round.callers--;
    if (round.callers === 0) {
      this.#round = undefined;
      if (!hasEnded) round.controller.abort();
    }
    const cutShort = (name: Probe): ProbeResult<never> => ({
      answer: undefined,
      error: `${PATHS[name]}: no response within ${limitMs} ms`,
      durationSeconds: secondsSince(startedAt),
    });
    const unanswered = { version: cutShort("version"), ps: cutShort("ps"), tags: cutShort("tags") };
    const state = serverState({ ...unanswered, ...round.results }, performance.now());
    if (hasEnded) this.#lastState = state;
    return state;
  }

  /** Fetches the models in memory alone, unless all is being fetched already. `onLoaded` gets the answer of either. */
  async fetchLoaded(): Promise<void> {
    if (this.#round === undefined) await this.#probeLoaded(new AbortController());
  }

  /** The last state in which no probe was cut short by a caller's limit; `undefined` before the first. */
  get lastState(): ServerState | undefined {
    return this.#lastState;
  }

  /** Fetches the state if {@linkcode Ollama.lastState} is older than `maxAgeMs`, in milliseconds. */
  async refreshIfOlder(maxAgeMs: number): Promise<void> {
    const last = this.#lastState;
    if (last === undefined || performance.now() - last.at > maxAgeMs) await this.fetchState();
  }

  #startRound(): Round {
    const controller = new AbortController();
    const results: Round["results"] = {};
    const ended = Promise.all([
      this.#probe("version", parseVersion, controller).then((result) => results.version = result),
      this.#probeLoaded(controller).then((result) => results.ps = result),
      this.#probe("tags", parseInstalled, controller).then((result) => results.tags = result),
    ]);
    return { results, ended, controller, callers: 0 };
  }

  async #probeLoaded(controller: AbortController): Promise<ProbeResults["ps"]> {
    const requestedAt = performance.now();
    const result = await this.#probe("ps", parseLoaded, controller);
    this.#options.onLoaded?.(result.answer && { models: result.answer, requestedAt });
    return result;
  }

  /** Waits until the probes have ended, but not longer than the limit. Returns whether they have. */
  async #endsWithin(limitMs: number, { ended }: Round): Promise<boolean> {
    const limit = Promise.withResolvers<false>();
    // No probe takes longer than its timeout, and a timer cannot have every limit.
    const timer = limitMs < this.#options.timeoutMs ? setTimeout(() => limit.resolve(false), limitMs) : undefined;
    const hasEnded = await Promise.race([ended.then(() => true), limit.promise]);
    clearTimeout(timer);
    return hasEnded;
  }

  async #probe<Answer>(
    probe: Probe,
    parse: (json: unknown) => Answer,
    controller: AbortController,
  ): Promise<ProbeResult<Answer>> {
    const { timeoutMs, countError } = this.#options;
    const path = PATHS[probe];
    const startedAt = performance.now();
    const timer = setTimeout(() => controller.abort(), timeoutMs);
    let answer: Answer | undefined;
    let error: string | undefined;
    let reason: ProbeError = "connection";
    try {
      const text = await this.#get(path, controller.signal);
      reason = "invalid_response";
      answer = parse(JSON.parse(text));
    } catch (thrown) {
      const isTimeout = controller.signal.aborted;
      error = `${path}: ${isTimeout ? `no response within ${timeoutMs} ms` : describe(thrown)}`;
      if (thrown instanceof UnexpectedResponse) reason = thrown.reason;
      countError?.(probe, isTimeout ? "timeout" : reason);
    }
    clearTimeout(timer);
    return { answer, error, durationSeconds: secondsSince(startedAt) };
  }

  async #get(path: string, signal: AbortSignal): Promise<string> {
    const { upstream, fetch, client, headersFile } = this.#options;
    const headers = await headersFile?.headers() ?? new Headers();
    headers.set("accept-encoding", "identity");
    const response = await fetch(upstream.href.replace(/\/$/, "") + path, {
      headers,
      redirect: "manual",
      signal,
      client,
    });
    const text = await readText(response);
    if (UNAUTHORIZED.has(response.status)) {
      throw new UnexpectedResponse("unauthorized", `unauthorized (status ${response.status})`);
    }
    if (!response.ok) throw new UnexpectedResponse("status", `unexpected status ${response.status}`);
    return text;
  }
}

async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > ANSWER_LIMIT_CHARACTERS) {
      throw new UnexpectedResponse("invalid_response", `response exceeds ${ANSWER_LIMIT_CHARACTERS} characters`);
    }
  }
  return text + decoder.decode();
}

function secondsSince(startedAt: number): number {
  return (performance.now() - startedAt) / MILLISECONDS_PER_SECOND;
}
