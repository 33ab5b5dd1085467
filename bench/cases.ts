/** Cases of the benchmark.
 *
 * @module
 */

import { type Dialect, lineFeedsOf, modelName, type Wanted } from "./payloads.ts";
import type { Job, Upload } from "./job.ts";

/** Case: a load, and the figures that it yields. */
export interface Case {
  readonly name: string;
  /** Description for the results. */
  readonly what: string;
  /** Unit that is counted, which determines the figures shown. */
  readonly kind: "requests" | "lines" | "paced" | "bytes" | "scrape";
  /** Bare pass-through to compare with, the one that handles upstream connections as the exporter does. */
  readonly bare: "pass" | "pass_pooled";
  /** Whether only the exporter can handle it. */
  readonly oursOnly?: boolean;
  /** Additional proxies: the exporter in other circumstances. */
  readonly also?: readonly string[];
  readonly load: Load;
  /** Warm-up job, not measured. Default: the ramp is the warm-up. */
  readonly warmUp?: Load;
  /** Body bytes of one exchange. */
  readonly bytes?: number;
  /** Messages of a stream, if not equal to line feeds. */
  readonly messages?: { readonly perStream: number; readonly lineFeeds: number };
}

/** Job without its target. */
export type Load = Omit<Job, "port" | "client" | "clients">;

/** Options of {@linkcode casesOf}. */
export interface Scale {
  /** Time for which closed loops and steady phases are measured. */
  readonly measureMs: number;
  /** Time for which a proxy is warmed up. */
  readonly warmUpMs: number;
  /** Tokens of a paced stream, whose duration is the ramp of a paced case. */
  readonly pacedTokens: number;
  /** Size of large bodies. */
  readonly bodyBytes: number;
}

/** Default options. The warm-up is long since V8 takes seconds to optimize hot code. */
export const FULL_SCALE: Scale = { measureMs: 3000, warmUpMs: 3000, pacedTokens: 150, bodyBytes: 2 ** 30 };
/** Options with `--quick`. */
export const QUICK_SCALE: Scale = { measureMs: 1000, warmUpMs: 1200, pacedTokens: 60, bodyBytes: 2 ** 28 };

/** Cases run with `--quick`. */
export const QUICK_CASES = ["json64", "full1", "full32", "paced500", "download"];

/** Fraction of the large body size for chunked uploads, whose time is quadratic in size with `Deno.serve`. */
const CHUNKED_SHARE = 8;

/** 50 tokens a second. */
const PACE_MS = 20;

/** Tokens of a stream at full speed. */
const FULL_TOKENS = 128;

/** Models with series in the scraped metrics, and scrapes per run. */
export const SCRAPED_MODELS = 200;
const SCRAPES = 20;

const JSON_TYPE = "Content-Type: application/json";

/** Returns all cases in the order in which they run. */
export function casesOf(scale: Scale): Case[] {
  return [
    json("json1", 1, scale),
    { ...json("json64", 64, scale), also: ["us_node"] },
    fullSpeed("full1", "native", 1, scale),
    { ...fullSpeed("full32", "native", 32, scale), also: ["pass_tapped", "us_node"] },
    fullSpeed("full32_openai", "openai", 32, scale, { asked: true }),
    fullSpeed("full32_openai_hidden", "openai", 32, scale),
    fullSpeed("full32_anthropic", "anthropic", 32, scale),
    { ...paced("paced16", 16, scale), also: ["us_node"] },
    paced("paced50", 50, scale),
    { ...paced("paced100", 100, scale), also: ["us_node"] },
    { ...paced("paced200", 200, scale), also: ["pass_tapped", "us_node", "us_viewed", "us_scraped"] },
    { ...paced("paced300", 300, scale), also: ["us_node"] },
    { ...paced("paced500", 500, scale), also: ["pass_tapped"] },
    { ...paced("paced2000", 2000, scale), also: ["pass_tapped"] },
    download(scale),
    { ...upload("upload", false, scale), also: ["us_node"] },
    { ...upload("upload_chunked", true, { ...scale, bodyBytes: scale.bodyBytes / CHUNKED_SHARE }), also: ["us_node"] },
    scrape(),
  ];
}

/** JSON has no infinity. */
const UNLIMITED = Number.MAX_SAFE_INTEGER;

const LOOP = { timed: false, rampMs: 0, limit: UNLIMITED, breakOff: false };

function json(name: string, connections: number, { measureMs, warmUpMs }: Scale): Case {
  const load = { ...LOOP, connections, measureMs, requests: [get("/api/version")], lineFeeds: 0 };
  return {
    name,
    what: `GET of a JSON answer of 93 bytes, ${plural(connections, "connection")}`,
    kind: "requests",
    bare: "pass_pooled",
    load,
    warmUp: { ...load, measureMs: warmUpMs },
  };
}

function fullSpeed(
  name: string,
  dialect: Dialect,
  connections: number,
  { measureMs, warmUpMs }: Scale,
  { asked = false } = {},
): Case {
  const model = modelName(0);
  const lineFeeds = lineFeedsOf({ dialect, model, tokens: FULL_TOKENS, usage: asked });
  const requests = [streamRequest(dialect, model, { num_predict: FULL_TOKENS }, asked)];
  const load = { ...LOOP, connections, measureMs, requests, lineFeeds };
  const usage = dialect !== "openai" ? "" : asked ? ", usage asked for" : ", usage not asked for";
  return {
    name,
    what: `${dialect} streams of ${FULL_TOKENS} tokens at full speed${usage}, ${plural(connections, "connection")}`,
    kind: "lines",
    bare: "pass",
    load,
    warmUp: { ...load, measureMs: warmUpMs },
    messages: { perStream: FULL_TOKENS, lineFeeds },
  };
}

function paced(name: string, connections: number, { measureMs, pacedTokens }: Scale): Case {
  const model = modelName(0);
  const options = { num_predict: pacedTokens, pace_ms: PACE_MS };
  return {
    name,
    what: `native streams at ${1000 / PACE_MS} tokens/s, ${connections} clients`,
    kind: "paced",
    bare: "pass",
    load: {
      connections,
      requests: [streamRequest("native", model, options, false)],
      lineFeeds: lineFeedsOf({ dialect: "native", model, tokens: pacedTokens, usage: false }),
      timed: true,
      rampMs: pacedTokens * PACE_MS,
      measureMs,
      limit: UNLIMITED,
      breakOff: true,
    },
    messages: { perStream: pacedTokens, lineFeeds: pacedTokens + 1 },
  };
}

/** Returns the lines per second of paced streams without delays. */
export function nominalLinesPerSecond({ load: { connections } }: Case): number {
  return connections * 1000 / PACE_MS;
}

function download({ bodyBytes }: Scale): Case {
  const load = (bytes: number): Load => ({
    ...LOOP,
    connections: 1,
    measureMs: 60_000,
    limit: 1,
    requests: [get(`/bench/download?bytes=${bytes}`)],
  });
  return {
    name: "download",
    what: `a response body of ${bodyBytes / 2 ** 20} MiB that is not measured`,
    kind: "bytes",
    bare: "pass_pooled",
    load: load(bodyBytes),
    warmUp: load(bodyBytes / 8),
    bytes: bodyBytes,
  };
}

function upload(name: string, chunked: boolean, { bodyBytes }: Scale): Case {
  const load = (bytes: number): Load => {
    const body: Upload = { bytes, chunked };
    return { ...LOOP, connections: 1, measureMs: 60_000, limit: 1, requests: [uploadHead("", body)], upload: body };
  };
  return {
    name,
    what: `a request body of ${bodyBytes / 2 ** 20} MiB${chunked ? " in chunks, as `ollama create` sends it" : ""}`,
    kind: "bytes",
    bare: "pass",
    load: load(bodyBytes),
    warmUp: load(bodyBytes / 8),
    bytes: bodyBytes,
  };
}

function scrape(): Case {
  const requests = streamBodies(SCRAPED_MODELS).map((body) => post("/api/chat", body));
  const once = { ...LOOP, connections: 1, measureMs: 60_000 };
  return {
    name: "scrape",
    what: `GET /metrics with the series of ${SCRAPED_MODELS} models`,
    kind: "scrape",
    bare: "pass_pooled",
    oursOnly: true,
    load: { ...once, limit: SCRAPES, requests: [get("/metrics")] },
    warmUp: { ...once, limit: SCRAPED_MODELS, requests },
  };
}

/** Returns a request without a body. */
export function get(target: string): string {
  return `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`;
}

/** Returns the head of a blob upload. */
export function uploadHead(query: string, { bytes, chunked }: Upload): string {
  const framing = chunked ? "Transfer-Encoding: chunked" : `Content-Length: ${bytes}`;
  return [`POST /api/blobs/sha256:${"0".repeat(64)}${query} HTTP/1.1`, "Host: 127.0.0.1", framing, "\r\n"].join("\r\n");
}

const PATHS: Readonly<Record<Dialect, string>> = {
  native: "/api/chat",
  openai: "/v1/chat/completions",
  anthropic: "/v1/messages",
};

/** Returns the bodies of short native chats, each with a different model. */
export function streamBodies(models: number): string[] {
  return Array.from({ length: models }, (_, index) => chatOf("native", modelName(index), { num_predict: 8 }, false));
}

/** Returns a request for a response, streamed or not. */
export function streamRequest(
  dialect: Dialect,
  model: string,
  options: Wanted,
  usage: boolean,
  stream = true,
): string {
  return post(PATHS[dialect], chatOf(dialect, model, options, usage, stream));
}

/** The bench's upstream reads `options`, whatever the API. */
function chatOf(dialect: Dialect, model: string, options: Wanted, usage: boolean, stream = true): string {
  return JSON.stringify({
    model,
    messages: [{ role: "user", content: "Why is the sky blue?" }],
    stream,
    ...(usage ? { stream_options: { include_usage: true } } : {}),
    ...(dialect === "anthropic" ? { max_tokens: 1024 } : {}),
    options,
  });
}

function post(path: string, body: string): string {
  const lines = [`POST ${path} HTTP/1.1`, "Host: 127.0.0.1", JSON_TYPE, `Content-Length: ${body.length}`];
  return `${lines.join("\r\n")}\r\n\r\n${body}`;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
