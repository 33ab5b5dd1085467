/**
 * Cases of the bench.
 *
 * @module
 */

import { lineFeedsOf } from "./bulk.ts";
import type { Load } from "./load.ts";
import { type Dialect, generationRequest, get, modelName, streamBody, uploadHead, VERSION_BODY } from "./payloads.ts";

/** Figures, with their column headings. A missing figure could not be measured. */
export const FIGURES = {
  held: "share of pace held",
  requestsPerCpuSecond: "requests per CPU s",
  linesPerSecond: "lines/s",
  linesPerCpuSecond: "lines per CPU s",
  coreShare: "share of a core",
  mebibytesPerSecond: "MiB/s",
  mebibytesPerCpuSecond: "MiB per CPU s",
  firstByteP50Ms: "first byte p50 ms",
  firstByteP99Ms: "first byte p99 ms",
  wholeP50Ms: "response p50 ms",
  wholeP99Ms: "response p99 ms",
  lagP50Ms: "token lag p50 ms",
  lagP99Ms: "token lag p99 ms",
  rssPeakMegabytes: "RSS peak MB",
  startMs: "start ms",
  rssIdleMegabytes: "RSS idle MB",
} as const;
/** Name of a figure. */
export type Figure = keyof typeof FIGURES;

/** Load, and the figures that it yields. */
export interface Case {
  readonly name: string;
  /** Description for the results. */
  readonly what: string;
  /** Figures shown, in the order of the columns. */
  readonly figures: readonly Figure[];
  /** Bare proxies that it is run with, besides the exporters. */
  readonly proxies: readonly string[];
  /**
   * All proxies of a listener run at the same time. What else the machine does then slows all of them down alike:
   * ratios of CPU time vary by a hundredth, and by a tenth otherwise. Lags are not those of a proxy that runs alone.
   */
  readonly isTogether?: boolean;
  readonly load: Load;
  /** Loads that precede it, one after the other. Default: none. */
  readonly before?: readonly Load[];
  /** Path of the exporter that is requested again and again meanwhile, every second or when its response has ended. */
  readonly meanwhile?: string;
  /** Lines of a streamed response, which may have more or fewer line feeds. */
  readonly linesPerResponse?: number;
  /** Lines per second if none is late. Default: not paced. */
  readonly pacedLinesPerSecond?: number;
}

/** Options of {@linkcode casesOf}. */
export interface Scale {
  /** Time for which a load is measured. */
  readonly measureMs: number;
  /** Time for which a proxy is warmed up: V8 takes seconds to optimize hot code. */
  readonly warmUpMs: number;
  /**
   * Short streams that precede paced ones. A paced stream is a request every few seconds: until V8 has optimized what
   * is done once in a request, which takes some thousands, a request costs up to four times as much.
   */
  readonly warmUpRequests: number;
  /** Tokens of a paced stream. */
  readonly pacedTokens: number;
  /** Size of large bodies. */
  readonly bodyBytes: number;
}

/** Default options. */
export const FULL_SCALE: Scale = {
  measureMs: 5000,
  warmUpMs: 10_000,
  warmUpRequests: 8000,
  pacedTokens: 150,
  bodyBytes: 2 ** 30,
};
/** Options with `--quick`. */
export const QUICK_SCALE: Scale = {
  measureMs: 1000,
  warmUpMs: 1000,
  warmUpRequests: 0,
  pacedTokens: 50,
  bodyBytes: 2 ** 28,
};

/** Numbers of streams whose cost the table for users states, and of those that look for the largest load. */
export const COST_STREAMS = [4, 16, 100];
export const LARGE_STREAMS = [200, 300, 500];
/** Open streams whose memory that table states. */
export const OPEN_STREAMS = 1000;

/** Returns the name of a case of streams at 50 tokens/s. */
export function pacedName(streams: number): string {
  return `paced${streams}`;
}

/** Numbers of streams with targets: lags of a proxy that runs alone, and CPU time of several at the same time. */
export const TARGET_STREAMS = [16, 100];

/** Returns the name of a case of streams at 50 tokens/s whose proxies run at the same time. */
export function togetherName(streams: number): string {
  return `together${streams}`;
}

const LONG_STREAMS = 100;
const LONG_TOKENS = 1000;
/** Name of the case of longer streams: hardly any of their CPU time is their requests'. */
export const LONG_CASE = `${togetherName(LONG_STREAMS)}_long`;

/** Name of the case of {@linkcode OPEN_STREAMS}. */
export const OPEN_CASE = `open${OPEN_STREAMS}`;

/** Cases run with `--quick`: those of the table of costs. */
export const QUICK_CASES = [...[...COST_STREAMS, ...LARGE_STREAMS].map(pacedName), OPEN_CASE];

/** Bare proxies whose figures show what is possible. */
const BARE = ["direct", "nginx", "pass", "tap_deno", "tap_node"];

/** 50 tokens a second, and one. */
const PACE_MS = 20;
const SLOW_PACE_MS = 1000;

/** Tokens of a stream at full speed. */
const FULL_TOKENS = 128;
/** Tokens of a stream that warms up. */
const SHORT_TOKENS = 8;

/** Models with series in the scraped metrics. */
const SCRAPED_MODELS = 200;

/** Times of a load that ends by its `limit`. */
const UNTIMED = { openMs: 0, warmUpMs: 0, measureMs: 0 } as const;

const STREAM_FIGURES = ["linesPerSecond", "linesPerCpuSecond", "firstByteP50Ms", "firstByteP99Ms"] as const;
const PACED_FIGURES = ["linesPerCpuSecond", "coreShare", "lagP50Ms", "lagP99Ms", "firstByteP50Ms"] as const;
const BODY_FIGURES = ["mebibytesPerSecond", "mebibytesPerCpuSecond", "rssPeakMegabytes"] as const;

/** Returns all cases in the order in which they run. */
export function casesOf(scale: Scale): Case[] {
  const { bodyBytes } = scale;
  const paced16 = paced(16, scale);
  return [
    ...TARGET_STREAMS.map((streams) => together(streams, scale)),
    { ...together(LONG_STREAMS, { ...scale, pacedTokens: LONG_TOKENS }), name: LONG_CASE },
    ...COST_STREAMS.map((streams) => paced(streams, scale)),
    // To be compared with `paced16`.
    {
      ...{ ...paced16, name: "scraped", proxies: [], before: [...paced16.before ?? [], manyModels()] },
      meanwhile: "/metrics",
      what: `${paced16.what}, scraped every second with ${SCRAPED_MODELS} models`,
    },
    { ...paced16, name: "viewed", what: `${paced16.what}, a viewer`, meanwhile: "/-/events", proxies: [] },
    paced(300, scale),
    ...LARGE_STREAMS.filter((streams) => streams !== 300)
      .map((streams) => ({ ...paced(streams, { ...scale, warmUpRequests: 0 }), proxies: [] })),
    open(scale),
    fullSpeed("full32", "native", scale),
    fullSpeed("full32_openai", "openai", scale, ", usage requested"),
    fullSpeed("full32_openai_hidden", "openai", scale, ", usage hidden"),
    fullSpeed("full32_anthropic", "anthropic", scale),
    answers("json64", 64, get("/api/version"), `a JSON response of ${VERSION_BODY.length} bytes`, scale),
    body("upload", { requests: [uploadHead("", bodyBytes, false)], upload: { bytes: bodyBytes, chunked: false } }),
    {
      ...body("upload_chunked", {
        requests: [uploadHead("", bodyBytes, true)],
        upload: { bytes: bodyBytes, chunked: true },
      }),
      // The others, on Deno.serve and fetch alone, take time quadratic in the size.
      proxies: ["direct", "nginx", "tap_node"],
    },
    body("download", { requests: [get(`/bench/download?bytes=${bodyBytes}`)], bodyBytes }),
  ];
}

function paced(streams: number, scale: Scale, paceMs = PACE_MS): Case {
  const { measureMs, warmUpMs, warmUpRequests, pacedTokens: tokens } = scale;
  const shape = { dialect: "native", model: modelName(0), tokens, usage: false } as const;
  return {
    name: pacedName(streams),
    what: `${streams} native streams at ${1000 / paceMs} token${paceMs === 1000 ? "" : "s"}/s`,
    proxies: BARE,
    // After the short streams, memory is garbage that V8 releases after some 20 s without work.
    figures: ["held", ...PACED_FIGURES, ...warmUpRequests === 0 ? ["rssPeakMegabytes"] as const : []],
    load: {
      connections: streams,
      requests: [generationRequest(shape, { num_predict: tokens, pace_ms: paceMs, stamped: true })],
      lineFeeds: lineFeedsOf(streamBody(shape)),
      // Tokens of different streams are then sent at different times.
      openMs: Math.min(tokens * paceMs, warmUpMs),
      warmUpMs,
      measureMs,
    },
    before: shortStreams(warmUpRequests),
    linesPerResponse: tokens,
    pacedLinesPerSecond: streams * 1000 / paceMs,
  };
}

function together(streams: number, scale: Scale): Case {
  // V8 still optimizes code, and collects the garbage of the short streams some 20 s after them, which at 16 streams is
  // as much as all else in two seconds.
  const alone = paced(streams, { ...scale, warmUpMs: 6 * scale.warmUpMs, measureMs: 2 * scale.measureMs });
  return {
    ...alone,
    name: togetherName(streams),
    what: `${alone.what}, ${scale.pacedTokens} tokens each, all proxies of a listener at the same time`,
    figures: ["held", "linesPerCpuSecond", "coreShare"],
    proxies: ["tap_deno", "tap_node", "least_deno", "least_node"],
    isTogether: true,
  };
}

/** Returns streams at full speed that are over in some milliseconds. */
function shortStreams(requests: number): Load[] {
  if (requests === 0) return [];
  const connections = 16;
  const shape = { dialect: "native", model: modelName(0), tokens: SHORT_TOKENS, usage: false } as const;
  const limit = Math.ceil(requests / connections);
  return [{ ...UNTIMED, connections, requests: [generationRequest(shape, { num_predict: SHORT_TOKENS })], limit }];
}

function open(scale: Scale): Case {
  const tokens = Math.ceil((scale.warmUpMs + scale.measureMs) / SLOW_PACE_MS) + 1;
  return {
    ...paced(OPEN_STREAMS, { ...scale, warmUpRequests: 0, pacedTokens: tokens }, SLOW_PACE_MS),
    name: OPEN_CASE,
    figures: ["held", "coreShare", "rssPeakMegabytes"],
    proxies: ["nginx", "tap_deno", "tap_node"],
  };
}

function fullSpeed(name: string, dialect: Dialect, { measureMs, warmUpMs }: Scale, comment = ""): Case {
  const usage = comment.includes("requested");
  const shape = { dialect, model: modelName(0), tokens: FULL_TOKENS, usage };
  return {
    name,
    what: `32 ${dialect} streams of ${FULL_TOKENS} tokens at full speed${comment}`,
    proxies: BARE,
    figures: STREAM_FIGURES,
    load: {
      connections: 32,
      requests: [generationRequest(shape, { num_predict: FULL_TOKENS })],
      lineFeeds: lineFeedsOf(streamBody(shape)),
      openMs: 0,
      warmUpMs,
      measureMs,
    },
    linesPerResponse: FULL_TOKENS,
  };
}

function answers(name: string, connections: number, request: string, what: string, scale: Scale): Case {
  const { measureMs, warmUpMs } = scale;
  return {
    name,
    what: `GET of ${what}, ${connections} at once`,
    proxies: BARE,
    figures: ["requestsPerCpuSecond", "wholeP50Ms", "wholeP99Ms"],
    load: { connections, requests: [request], openMs: 0, warmUpMs, measureMs },
  };
}

/** Returns one request for each of the scraped models. */
function manyModels(): Load {
  const requests = Array.from({ length: SCRAPED_MODELS }, (_, index) => {
    return generationRequest({ dialect: "native", model: modelName(index), tokens: 8, usage: false }, {});
  });
  return { ...UNTIMED, connections: 1, requests, limit: SCRAPED_MODELS };
}

function body(name: string, load: Pick<Load, "requests" | "upload" | "bodyBytes">): Case {
  const bytes = load.upload?.bytes ?? load.bodyBytes ?? 0;
  const chunked = load.upload?.chunked ? " in chunks, as `ollama create` sends it" : "";
  return {
    name,
    what: `a body of ${Math.round(bytes / 2 ** 20)} MiB${chunked}`,
    proxies: BARE,
    figures: BODY_FIGURES,
    load: { ...UNTIMED, ...load, connections: 1, limit: 1 },
  };
}
