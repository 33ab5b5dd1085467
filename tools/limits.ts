/**
 * The limits of the exporter, for the README: what each bounds, the constant that names it, and what happens beyond it.
 *
 * @module
 */

import * as basicAuth from "../lib/web/basic_auth.ts";
import { SETTINGS } from "../lib/settings/settings.ts";
import * as framing from "../lib/reading/framing.ts";
import * as jsonScan from "../lib/bytes/json_scan.ts";
import * as log from "../lib/log/log.ts";
import * as nodeListener from "../lib/listen/node_listener.ts";
import * as ollama from "../lib/ollama/ollama.ts";
import * as reading from "../lib/reading/answer_reader.ts";
import * as requestBody from "../lib/proxy/request_body.ts";
import * as status from "../lib/status/status.ts";
import * as statusFeed from "../lib/status/feed.ts";
import * as statusHistory from "../lib/status/history.ts";
import * as usage from "../lib/proxy/stream_usage.ts";
import * as webConfig from "../lib/web/web_config.ts";
import * as yamlFile from "../lib/settings/yaml_file.ts";

/** The modules that name limits. */
const MODULES = [
  ...[basicAuth, framing, jsonScan, log, nodeListener, ollama, reading, requestBody, status, statusFeed],
  ...[statusHistory, usage, webConfig, yamlFile],
] as readonly Readonly<Record<string, unknown>>[];

/** What a limit bounds, and what happens beyond it; by the name of the constant or the setting. */
const LIMITS: Readonly<Record<string, readonly [what: string, beyond: string]>> = {
  MESSAGE_LIMIT_BYTES: [
    "a line, an event or a whole JSON body of an answer, where it is read",
    'passed on unread, counted in `ollama_exporter_parse_errors_total{reason="too_long"}`',
  ],
  EVENT_LIMIT_BYTES: ["an event of a stream that was asked for usage", "passed on as it is"],
  READ_LIMIT_BYTES: [
    "a request's body, where it is read",
    "passed on unread: the model is taken from the answer, usage is not asked for",
  ],
  HELD_LIMIT_BYTES: ["all request bodies that are held at once", "further ones are passed on unread"],
  KEY_LIMIT_BYTES: ["a name in a request's JSON", "taken for one that means nothing here"],
  MODEL_LABEL_LIMIT: ["distinct models in labels", "they share the label `other`"],
  TRANSFER_DIGESTS_LIMIT: ["layers of one pull, push or create", "the bytes of further ones are not counted"],
  ANSWER_LIMIT_CHARACTERS: ["an answer of Ollama to a probe", "the probe has failed"],
  LABEL_LIMIT_CHARACTERS: ["a label's value from such an answer", "cut"],
  LOG_VALUE_LIMIT_CHARACTERS: ["a value in a line of the log", "cut, with `…` at its end"],
  HEAD_LIMIT_BYTES: [
    "a request's head under `WEB_SERVER=node`; `Deno.serve` has the same",
    "status 431; from `Deno.serve` 400",
  ],
  HEADERS_LIMIT: ["headers of a request, over both listeners", "status 431; from `Deno.serve` 400"],
  HEAD_TIMEOUT_MS: ["how long a head may take under `WEB_SERVER=node`; `Deno.serve` has no limit", "status 408"],
  VIEWER_LIMIT: ["viewers of the status page", "status 503"],
  STATE_LIMIT_MS: ["age of the server's state that the status page shows", "not shown"],
  NAME_LIMIT_CHARACTERS: ["a name on the status page that is none of a model", "cut"],
  PENDING_LIMIT: ["passwords that are compared at once", "status 429"],
  REJECTED_LIMIT: ["wrong passwords that are remembered", "the longest unused is compared anew"],
  BURST_LIMIT: ["`burst` of a rate limit; its own excess is answered with status 429", "the file is refused"],
  INTERVAL_LIMIT_MS: ["`interval` of a rate limit", "the file is refused"],
  FILE_LIMIT_BYTES: ["the web config file and the log's", "the file is refused"],
  QUOTE_LIMIT_CHARACTERS: ["what is quoted of such a file", "cut"],
};

/** A limit. */
export interface Limit {
  /** The constant or the setting. */
  readonly name: string;
  /** With its unit. */
  readonly value: string;
  readonly what: string;
  readonly beyond: string;
}

/** All limits with their values, as the program has them. */
export const ALL_LIMITS: readonly Limit[] = Object.entries(LIMITS).map(([name, [what, beyond]]) => ({
  name,
  value: valueOf(name),
  what,
  beyond,
}));

/** @throws {Error} Where no constant and no setting has this name. */
function valueOf(name: string): string {
  const setting = Object.values(SETTINGS).find(({ variable }) => variable === name);
  if (setting !== undefined) return `${setting.default}, a setting`;
  const value = MODULES.map((module) => module[name]).find((value) => value !== undefined);
  if (typeof value !== "number") throw new Error(`No module exports a number ${name}`);
  return withUnit(value, name);
}

/** A number with the unit that the name of its constant ends with. */
function withUnit(value: number, name: string): string {
  if (name.endsWith("_CHARACTERS")) return `${value.toLocaleString("en")} characters`;
  if (name.endsWith("_MS")) return `${(value / 1000).toLocaleString("en")} s`;
  if (!name.endsWith("_BYTES")) return value.toLocaleString("en");
  if (value % 1024 ** 2 === 0) return `${value / 1024 ** 2} MiB`;
  return value % 1024 === 0 ? `${value / 1024} KiB` : `${value} bytes`;
}
