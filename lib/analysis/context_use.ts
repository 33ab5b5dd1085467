/**
 * How much of the context a request filled, and whether its prompt was cut to fit: what follows from an answer together
 * with the context length of its model, which only `/api/ps` has.
 *
 * @module
 */

import { isCloudModel, modelKey } from "../model_name.ts";
import type { Api, ContextFinding, Observation, RequestOptions } from "../observation.ts";
import type { LoadedList, LoadedModel } from "../ollama/state.ts";
import { KEEP_ALIVE_MS } from "./model_loads.ts";

/** Maximum number of answers that wait for a list of the models in memory. */
export const WAITING_ANSWERS_LIMIT = 1000;
/** Maximum number of models whose last load is remembered. */
export const REMEMBERED_LOADS_LIMIT = 1000;

/**
 * Minimum load duration of an answer whose model was loaded for it, in seconds. That of a warm model is 1 to 10 ms, and
 * a runner takes longer to start (docs/ollama-api.md 8.3, 12). A wait in Ollama's queue counts as well: then the list
 * is requested once more than needed.
 */
const MIN_LOAD_SECONDS = 0.1;
/** Tokens at the beginning of a prompt that are not cut by default, `num_keep`. */
const DEFAULT_KEEP_TOKENS = 4;

/** What an answer says that its finding follows from. */
interface Answer {
  readonly model: string;
  readonly api: Api;
  readonly options: RequestOptions;
  readonly requestBytes: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** When it ended, in milliseconds of the same clock as the lists. */
  readonly endedAt: number;
}

/** The last load of a model that observations show. */
interface Load {
  /** By when the model was loaded. */
  loadedAt: number;
  /** `num_ctx` of the last request; `null` where it was not read. */
  requestedTokens: number | null | undefined;
}

/** Finds out about the context of requests. Times are those of `performance.now()`. */
export class ContextUse {
  /** The last models in memory, by key. */
  #listed: ReadonlyMap<string, LoadedModel> = new Map();
  #listedAt = -Infinity;
  /** By key of the model, the least recently used first. */
  readonly #loads = new Map<string, Load>();
  #waiting: (readonly [key: string, answer: Answer])[] = [];

  /** Whether answers wait for a list of the models in memory that is newer than the last. */
  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /**
   * Takes a request that has just ended.
   *
   * @returns What is known of its context; `undefined` if nothing is, or not before the next list.
   */
  observe(observation: Observation): ContextFinding | undefined {
    const { api, report, requestedModel, isContextExceeded } = observation;
    const model = report.model ?? requestedModel;
    if (api === undefined) return undefined;
    if (isContextExceeded) return { model, api, usedRatio: undefined, overflow: "rejected" };
    const key = modelKey(model);
    if (key === undefined || isCloudModel(key) || isRefused(observation)) return undefined;
    const now = performance.now();
    const load = this.#loadOf(key, observation, now);
    const answer = answerOf(observation, now);
    if (answer === undefined) return undefined;
    // A model that was idle for longer may have been loaded again since, which answers of `/v1` do not tell.
    if (load.loadedAt <= this.#listedAt && now - this.#listedAt <= KEEP_ALIVE_MS) return this.#find(key, answer);
    if (this.#waiting.length < WAITING_ANSWERS_LIMIT) this.#waiting.push([key, answer]);
    return undefined;
  }

  /**
   * Takes the models in memory; `undefined` if they could not be fetched: nothing more will be known of the answers
   * that waited for them.
   *
   * @returns What is known now of answers that waited.
   */
  update(list: LoadedList | undefined): ContextFinding[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    if (list === undefined) return [];
    this.#listed = new Map(list.models.map((model) => [modelKey(model.name) ?? "", model]));
    this.#listedAt = list.requestedAt;
    const findings: ContextFinding[] = [];
    for (const [key, answer] of waiting) {
      const load = this.#loads.get(key);
      // After a request for another context length the list does not tell the one of before.
      const isLast = load?.requestedTokens === answer.options.contextTokens;
      if (load === undefined || !isLast || this.#listedAt - answer.endedAt > KEEP_ALIVE_MS) continue;
      if (load.loadedAt > this.#listedAt) {
        this.#waiting.push([key, answer]);
        continue;
      }
      const finding = this.#find(key, answer);
      if (finding !== undefined) findings.push(finding);
    }
    return findings;
  }

  /**
   * Returns the last load of a model, after this request: a load is one by its duration, or where the API reports none
   * by another `num_ctx` than before, or by a model that was not listed.
   */
  #loadOf(key: string, observation: Observation, now: number): Load {
    const { report: { loadSeconds }, options, firstOutputSeconds, durationSeconds } = observation;
    const requestedTokens = options === undefined ? null : options.contextTokens;
    const known = this.#loads.get(key);
    const readySeconds = Math.min(loadSeconds ?? firstOutputSeconds ?? durationSeconds, durationSeconds);
    const readyAt = now - (durationSeconds - readySeconds) * 1000;
    const isLoad = loadSeconds === undefined
      ? known === undefined || known.requestedTokens !== requestedTokens
      : loadSeconds >= MIN_LOAD_SECONDS;
    const load = {
      loadedAt: isLoad || !this.#listed.has(key) ? Math.max(readyAt, known?.loadedAt ?? 0) : known?.loadedAt ?? 0,
      requestedTokens,
    };
    this.#loads.delete(key);
    this.#loads.set(key, load);
    const [oldest] = this.#loads.keys();
    if (oldest !== undefined && this.#loads.size > REMEMBERED_LOADS_LIMIT) this.#loads.delete(oldest);
    return load;
  }

  #find(key: string, answer: Answer): ContextFinding | undefined {
    const contextTokens = contextTokensOf(this.#listed.get(key), answer.options.contextTokens);
    if (contextTokens === undefined) return undefined;
    const { model, api, promptTokens, outputTokens } = answer;
    return isCut(answer, contextTokens)
      ? { model, api, usedRatio: 1, overflow: "truncated" }
      : { model, api, usedRatio: (promptTokens + outputTokens) / contextTokens, overflow: undefined };
  }
}

/** Whether Ollama answered without its model, so that nothing follows about it. */
function isRefused({ outcome }: Observation): boolean {
  return outcome === "client_error" || outcome === "server_error" || outcome === "upstream_unreachable";
}

/** What the observation says of its context; `undefined` where it lacks exact tokens of one whole generation. */
function answerOf(observation: Observation, endedAt: number): Answer | undefined {
  const { api, options, report, requestBytes, hasTwoRuns, hasEstimatedPrompt } = observation;
  const { model = observation.requestedModel, promptTokens, outputTokens = 0 } = report;
  if (api === undefined || !canGenerate(api) || model === undefined || options === undefined) return undefined;
  if (promptTokens === undefined || hasTwoRuns || hasEstimatedPrompt) return undefined;
  return { model, api, options, requestBytes, promptTokens, outputTokens, endedAt };
}

/** Embeddings have several prompts, whose tokens are reported as one sum. */
function canGenerate(api: Api): boolean {
  return api !== "embed" && api !== "openai_embeddings";
}

/**
 * The context length of a request's prompt: that of its model, or the requested one where that is less.
 *
 * @param model As listed after its last load; `undefined` if it is not in memory.
 * @param requestedTokens `num_ctx` of the request.
 * @returns `undefined` if it is not known. Of several runners it is not known which one answered, unless one has the
 * requested length.
 */
function contextTokensOf(model: LoadedModel | undefined, requestedTokens = 0): number | undefined {
  const lengths = new Set(model?.runners.map(({ contextTokens }) => contextTokens));
  if (requestedTokens > 0 && lengths.has(requestedTokens)) return requestedTokens;
  const [length = 0, ...others] = lengths;
  if (length === 0 || others.length > 0) return undefined;
  return requestedTokens > 0 && requestedTokens < length ? requestedTokens : length;
}

/**
 * Whether Ollama has cut the prompt: it has exactly the tokens that Ollama 0.30 and later leave of one that is too long
 * (docs/ollama-api.md 12), and the request as many bytes as the context has tokens, without which Ollama cuts nothing.
 * The beginning that is kept has one token more if the model has one for it, which is not known.
 */
function isCut({ options, requestBytes, promptTokens }: Answer, contextTokens: number): boolean {
  const { keepTokens = DEFAULT_KEEP_TOKENS } = options;
  if (requestBytes < contextTokens || keepTokens < 0 || keepTokens > contextTokens) return false;
  return [keepTokens, keepTokens + 1].some((kept) =>
    promptTokens === contextTokens - Math.max(Math.floor((contextTokens - kept) / 2), 1)
  );
}
