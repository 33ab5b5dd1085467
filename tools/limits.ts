/**
 * The limits of the exporter, for docs/limits.md: the size or number that each limits, its constant or setting, and
 * what happens beyond it. Values are read from the source of lib/.
 *
 * @module
 */

import { SETTINGS } from "../lib/settings/settings.ts";

/** What a limit applies to, and what happens beyond it; by the name of the constant or the setting. */
const LIMITS: Readonly<Record<string, readonly [what: string, beyond: string]>> = {
  MESSAGE_LIMIT_BYTES: [
    "a line, an event or a whole JSON body of a response that is parsed, without long strings and vectors",
    'forwarded unparsed, counted in `ollama_exporter_parse_errors_total{reason="too_long"}`',
  ],
  STRING_LIMIT_BYTES: [
    "a string in a JSON body over 4 KiB, or in a line or event over 8 MiB",
    "the rest of the string is not read; it is forwarded unchanged",
  ],
  ERROR_LIMIT_BYTES: [
    "the beginning of a 400 from Ollama that is searched for a prompt too long for the context",
    "the rest is not read; it is forwarded unchanged",
  ],
  EVENT_LIMIT_BYTES: ["an event of a stream for which the exporter requests usage", "forwarded unchanged"],
  READ_LIMIT_BYTES: [
    "a request body that is parsed",
    "forwarded unparsed: the model is taken from the response, usage is not requested",
  ],
  HELD_LIMIT_BYTES: [
    "all request bodies in memory, from their arrival until they are sent",
    "further ones are forwarded unparsed",
  ],
  KEY_LIMIT_BYTES: ["a member name in the JSON of a request", "ignored"],
  VALUE_LIMIT_BYTES: ["a value in the JSON of a request that is decoded", "ignored"],
  MEMBERS_LIMIT: ["members of an object in the JSON of a request", "the body is forwarded unparsed"],
  NAME_LIMIT_BYTES: ["a name of a model, a layer or a finish reason", "ignored: the model is `unknown`"],
  MODEL_LABEL_LIMIT: ["values of the label `model`", "further models are reported as `other`"],
  CLIENT_LABEL_LIMIT: ["values of the label `client`", "further clients are reported as `other`"],
  CLIENT_LIMIT_CHARACTERS: [
    "name of a client, as a request gives it or in `CLIENT_KEYS_FILE`",
    "the client is `unknown`; the file is rejected",
  ],
  PROXIES_LIMIT: [
    "trusted proxies that a request has come through, for `CLIENT_LABEL=address`",
    "the farthest of them is the client",
  ],
  LOADED_NAMES_LIMIT: [
    "models in memory that are named in `ollama_loaded_model_*` beyond `MODEL_LABEL_LIMIT`",
    "further ones are summed as `other`",
  ],
  WAITING_ANSWERS_LIMIT: [
    "answers that wait for the context length of their model from `/api/ps`",
    "further ones are in neither `ollama_context_used_ratio` nor `ollama_prompt_overflows_total`",
  ],
  REMEMBERED_LOADS_LIMIT: [
    "models whose last load is remembered",
    "`/api/ps` is requested again for the least recently used one",
  ],
  TRANSFER_DIGESTS_LIMIT: ["layers of one pull, push or create", "the bytes of further ones are not counted"],
  GENERATING_MODELS_LIMIT: [
    "models whose streams are counted in `ollama_requests_generating_max`",
    "streams of further ones are not counted",
  ],
  LOAD_MODELS_LIMIT: [
    "models whose past is kept to tell the causes of loads",
    "the least recently used one is forgotten: its next load is `cold`",
  ],
  LOAD_HISTORY_LIMIT: ["loads and times of use that are kept for such a model", "the oldest ones are forgotten"],
  ANSWER_LIMIT_CHARACTERS: ["a response to one of the exporter's status requests", "the probe fails"],
  MODELS_LIMIT: ["models in such a response", "the probe fails"],
  LABEL_LIMIT_CHARACTERS: ["a label value from such a response", "truncated"],
  LOG_VALUE_LIMIT_CHARACTERS: ["a value in a log line", "truncated, with `…` at the end"],
  SLOW_REQUESTS_LIMIT: [
    "slow requests in the log per minute, with `SLOW_REQUEST`",
    "further ones are counted in the next line, as `suppressed`",
  ],
  HEAD_LIMIT_BYTES: ["request line and headers, over both listeners", "status 431; from `Deno.serve` 400"],
  HEADERS_LIMIT: ["number of request headers, over both listeners", "status 431; from `Deno.serve` 400"],
  RESPONSE_HEADERS_LIMIT: ["number of headers of a response from Ollama", "status 502"],
  HEAD_TIMEOUT_MS: [
    "time to receive request line and headers with `WEB_SERVER=node`; `Deno.serve` has no timeout",
    "status 408",
  ],
  PIPELINED_LIMIT_BYTES: [
    "pipelined requests that wait for a response, of all clients, with `WEB_SERVER=node`",
    "further ones stay unread",
  ],
  CHECK_TIMEOUT_MS: ["time for the check of `Deno.serve` at start", "`WEB_SERVER=auto` uses `node:http`"],
  VIEWER_LIMIT: ["clients of the status page", "status 503"],
  FIGURES_LIMIT: ["models with figures on the status page", "further ones are summed as `other`"],
  STATE_LIMIT_MS: ["age of the server state on the status page", "not shown"],
  NAME_LIMIT_CHARACTERS: ["a name on the status page other than a model's", "truncated"],
  PENDING_LIMIT: ["concurrent password comparisons", "status 429"],
  REJECTED_LIMIT: ["remembered wrong passwords", "the least recently used one is compared again"],
  BURST_LIMIT: ["`burst` of a rate limit; requests beyond the burst get status 429", "the file is rejected"],
  INTERVAL_LIMIT_MS: ["`interval` of a rate limit", "the file is rejected"],
  FILE_LIMIT_BYTES: ["a file that a setting names, and a certificate or key", "the file is rejected"],
  HEALTH_TIMEOUT_MS: ["time for a response to `ollama-exporter health`", "exit code 1"],
  LINE_LIMIT_CHARACTERS: ["status line of that response", "exit code 1"],
  QUOTE_LIMIT_CHARACTERS: ["a quotation from such a file in an error message", "truncated"],
};

/** A constant of lib/ that is a limit by its name. */
const CONSTANT = /\bconst (\w+_LIMIT(?:_\w+)?|\w+_TIMEOUT_MS) = ([\d_ *]+);/g;

/** A limit. */
export interface Limit {
  /** The constant or the setting. */
  readonly name: string;
  /** With its unit. */
  readonly value: string;
  readonly what: string;
  readonly beyond: string;
}

/** Returns the values of the constants in a folder and those below it that are limits, by name. */
function limitConstants(folder: URL): Map<string, number> {
  const constants = new Map<string, number>();
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    if (isDirectory) {
      for (const [key, value] of limitConstants(new URL(`${name}/`, folder))) constants.set(key, value);
    }
    if (!name.endsWith(".ts")) continue;
    for (const [, key = "", product = ""] of Deno.readTextFileSync(new URL(name, folder)).matchAll(CONSTANT)) {
      const factors = product.replaceAll("_", "").split("*").map(Number);
      constants.set(key, factors.reduce((value, factor) => value * factor));
    }
  }
  return constants;
}

/** @throws {Error} If no constant and no setting has this name. */
function valueOf(name: string): string {
  const setting = Object.values(SETTINGS).find(({ variable }) => variable === name);
  if (setting !== undefined) return `${setting.default}, a setting`;
  const value = CONSTANTS.get(name);
  if (value === undefined) throw new Error(`no constant "${name}" in lib/: expected a product of numbers`);
  return withUnit(value, name);
}

/** Returns a number with the unit at the end of its constant's name. */
function withUnit(value: number, name: string): string {
  if (name.endsWith("_CHARACTERS")) return `${value.toLocaleString("en")} characters`;
  if (name.endsWith("_MS")) return `${(value / 1000).toLocaleString("en")} s`;
  if (!name.endsWith("_BYTES")) return value.toLocaleString("en");
  if (value % 1024 ** 2 === 0) return `${value / 1024 ** 2} MiB`;
  return value % 1024 === 0 ? `${value / 1024} KiB` : `${value} bytes`;
}

/** The constants of lib/ that are limits, by name. */
const CONSTANTS = limitConstants(new URL("../lib/", import.meta.url));

/** All limits with their values in the program. */
export const ALL_LIMITS: readonly Limit[] = Object.entries(LIMITS)
  .map(([name, [what, beyond]]) => ({ name, value: valueOf(name), what, beyond }));
