/**
 * Cases of the soak: loads on an exporter, and the limits that must hold.
 *
 * @module
 */

import { LOADED_NAMES_LIMIT } from "../lib/metrics/model_labels.ts";
import { SETTINGS, WEB_SERVERS, type WebServer } from "../lib/settings/settings.ts";
import { random as randomFrom } from "../tests/support/fixtures.ts";
import { delay } from "../tests/support/helpers.ts";
import { lengthOf } from "./bulk.ts";
import { spreadOf } from "./report.ts";
import { heldUploads, idleUploads, longName, manyMembers, tinyChunks } from "./soak_bounds.ts";
import { download, type Exchange, generation, type Trial, upload } from "./soak_trial.ts";
import { mebibytes } from "./tally.ts";
import type { Client } from "./wire.ts";

const MEBIBYTE = 2 ** 20;
const GIBIBYTE = 2 ** 30;
const MINUTE_MS = 60_000;

/** Limits of the peak RSS of the exporter's process, in bytes. */
export const RSS_LIMITS_BYTES = {
  OPEN_STREAMS_RSS_LIMIT: 512 * MEBIBYTE,
  STALLED_CLIENT_RSS_LIMIT: 192 * MEBIBYTE,
  LARGE_BODY_RSS_LIMIT: 128 * MEBIBYTE,
  LONG_LINE_RSS_LIMIT: 256 * MEBIBYTE,
  SOAK_RSS_LIMIT: 320 * MEBIBYTE,
  CARDINALITY_RSS_LIMIT: 320 * MEBIBYTE,
  TINY_CHUNKS_RSS_LIMIT: 160 * MEBIBYTE,
  HELD_UPLOADS_RSS_LIMIT: 640 * MEBIBYTE,
  IDLE_UPLOADS_RSS_LIMIT: 128 * MEBIBYTE,
  PARSED_REQUEST_RSS_LIMIT: 256 * MEBIBYTE,
} as const;

/**
 * Limit of the growth of the median RSS from the second to the last quarter of the soak: half of the requests lie
 * between the middles of the two.
 */
const SOAK_GROWTH_LIMIT_BYTES = 24 * MEBIBYTE;

/** Minimum number of requests before the second quarter, in which code is compiled and heaps reach their size. */
const SOAK_WARM_UP_REQUESTS = 10_000;

/** Limits of a scrape with the maximum number of models, in ms and bytes. */
const SCRAPE_TIME_LIMIT_MS = 2000;
const SCRAPE_SIZE_LIMIT_BYTES = 8 * MEBIBYTE;

/** Label values other than models: "other" and "unknown". */
const OTHER_LABELS = 2;

/** Scale of the cases. */
export interface SoakScale {
  readonly seed: number;
  readonly openStreams: number;
  /** Tokens of each stream, one per second: all must be open before the first has ended. */
  readonly streamTokens: number;
  readonly stalledBytes: number;
  readonly bodyBytes: number;
  readonly lineBytes: number;
  readonly requests: number;
  readonly models: number;
  /** Time in ms for which a client pauses reading. */
  readonly stallMs: number;
}

/** Scale of the full run. */
export const FULL_SOAK: Omit<SoakScale, "seed"> = {
  openStreams: 2000,
  streamTokens: 10,
  stalledBytes: GIBIBYTE,
  bodyBytes: 10 * GIBIBYTE,
  lineBytes: 64 * MEBIBYTE,
  requests: 200_000,
  models: 100_000,
  stallMs: 5000,
};

/** Scale with `--quick`. */
export const QUICK_SOAK: Omit<SoakScale, "seed"> = {
  openStreams: 500,
  streamTokens: 5,
  stalledBytes: 256 * MEBIBYTE,
  bodyBytes: 256 * MEBIBYTE,
  lineBytes: 64 * MEBIBYTE,
  requests: 10_000,
  models: 5000,
  stallMs: 2000,
};

/** Case of the soak. */
export interface SoakCase {
  readonly name: string;
  /** Description of the load, for the table. */
  readonly load: string;
  readonly servers: readonly WebServer[];
  readonly limit: keyof typeof RSS_LIMITS_BYTES;
  /** Maximum time over one listener. */
  readonly deadlineMs: number;
  /** Applies the load. Returns notes in addition to the counts. */
  readonly run: (trial: Trial) => Promise<string>;
}

/** Cases of one large body. */
function bodyCases(bodyBytes: number, server: WebServer): SoakCase[] {
  const ofBody = (name: string, exchange: Exchange): SoakCase => ({
    name,
    load: `a body of ${mebibytes(bodyBytes)}`,
    limit: "LARGE_BODY_RSS_LIMIT",
    deadlineMs: 3 * MINUTE_MS,
    run: (trial) => largeBody(trial, exchange, bodyBytes),
    servers: [server],
  });
  return [
    ofBody("upload", upload(bodyBytes, false)),
    ofBody("upload_chunked", upload(bodyBytes, true)),
    ofBody("download", download(bodyBytes)),
  ];
}

/** Returns all cases in the order in which they run. */
export function soakCases(scale: SoakScale): SoakCase[] {
  const { openStreams, stalledBytes, bodyBytes, lineBytes, requests, models } = scale;
  const atOnce = `${SOAK_CLIENTS} concurrent`;
  const nearly = 8 * MEBIBYTE - 64 * 1024;
  const row = (
    [name, load, limit, minutes]: readonly [string, string, SoakCase["limit"], number],
    run: SoakCase["run"],
    servers: readonly WebServer[] = WEB_SERVERS,
  ): SoakCase => ({ name, load, limit, deadlineMs: minutes * MINUTE_MS, run, servers });
  return [
    row(
      ["streams", `${openStreams} open streams; half of the clients disconnect`, "OPEN_STREAMS_RSS_LIMIT", 2],
      (trial) => openStreamsAtOnce(trial, scale),
    ),
    row([
      "stalled",
      `clients that pause reading streams of ${mebibytes(stalledBytes)}, and disconnect or resume`,
      "STALLED_CLIENT_RSS_LIMIT",
      2,
    ], (trial) => stalledClients(trial, scale)),
    ...WEB_SERVERS.flatMap((server) => bodyCases(bodyBytes, server)),
    row(
      ["line", `streams with a line of ${mebibytes(lineBytes)}`, "LONG_LINE_RSS_LIMIT", 1],
      (trial) => longLines(trial, scale),
    ),
    row(["soak", `${requests} mixed requests, ${atOnce}`, "SOAK_RSS_LIMIT", 8], (trial) => mixedRequests(trial, scale)),
    row(
      ["cardinality", `${models} requests with as many models, ${atOnce}`, "CARDINALITY_RSS_LIMIT", 4],
      (trial) => manyModels(trial, scale),
      ["deno"],
    ),
    // Clients that try to keep memory or time; the same at every scale.
    row(
      ["tiny_chunks", "an open request of 12000 chunks of one byte", "TINY_CHUNKS_RSS_LIMIT", 1],
      (trial) => tinyChunks(trial, 12_000),
    ),
    row([
      "held_uploads",
      `160 open requests in chunks of ${mebibytes(nearly)}, half of them at once`,
      "HELD_UPLOADS_RSS_LIMIT",
      1,
    ], (trial) => heldUploads(trial, 160, nearly)),
    row(
      ["idle_uploads", "64 requests that announce 8 MiB each and send nothing", "IDLE_UPLOADS_RSS_LIMIT", 1],
      (trial) => idleUploads(trial, 64, 8 * MEBIBYTE),
    ),
    row(
      ["members", `a request of ${mebibytes(nearly)} of tiny members`, "PARSED_REQUEST_RSS_LIMIT", 1],
      (trial) => manyMembers(trial, nearly),
    ),
    row([
      "long_name",
      `an open request for a model with a name of ${mebibytes(nearly)}`,
      "PARSED_REQUEST_RSS_LIMIT",
      1,
    ], (trial) => longName(trial, nearly)),
  ];
}

/** Delay between tokens of an open stream in ms. */
const PACE_MS = 1000;

async function openStreamsAtOnce(trial: Trial, { openStreams, streamTokens }: SoakScale): Promise<string> {
  const exchange = generation("native", { num_predict: streamTokens, pace_ms: PACE_MS });
  const clients = Array.from({ length: openStreams }, () => trial.client());
  await Promise.all(clients.map((client) => client.begin(exchange)));
  const open = (await trial.scrape()).value("ollama_requests_in_flight");
  if (open !== openStreams) trial.problem(`${open} requests in flight, want ${openStreams}`);
  await Promise.all(clients.map(async (client, index) => {
    await client.read(1);
    const leaves = index % 2 === 0;
    trial.ended(exchange, leaves ? client.disconnect() : await client.finish(), leaves);
    client.disconnect();
  }));
  return `${open} in flight`;
}

async function stalledClients(trial: Trial, { stalledBytes, stallMs }: SoakScale): Promise<string> {
  const bytesPerToken = lengthOf(generation("native", { num_predict: 1000 }).body) / 1000;
  const num_predict = Math.ceil(stalledBytes / bytesPerToken);
  const reads = generation("native", { num_predict });
  const leave = [generation("openai", { num_predict }), download(stalledBytes)];
  const stalled = [reads, ...leave].map((exchange) => ({ exchange, client: trial.client() }));
  await Promise.all(stalled.map(({ exchange, client }) => client.begin(exchange)));
  await delay(stallMs);
  const { peakRssBytes } = await trial.usage();
  for (const { exchange, client } of stalled.toReversed()) {
    if (leave.includes(exchange)) trial.ended(exchange, client.disconnect(), true);
    else trial.ended(exchange, await client.finish());
    client.disconnect();
  }
  return `${mebibytes(peakRssBytes)} after ${stallMs / 1000} s without a read`;
}

async function largeBody(trial: Trial, exchange: Exchange, bytes: number): Promise<string> {
  const client = trial.client();
  const startedAt = performance.now();
  await trial.exchange(client, exchange);
  client.disconnect();
  return `${Math.round(bytes / MEBIBYTE / (performance.now() - startedAt) * 1000)} MiB/s`;
}

async function longLines(trial: Trial, { lineBytes }: SoakScale): Promise<string> {
  const client = trial.client();
  const dialects = ["native", "openai", "anthropic"] as const;
  for (const dialect of dialects) await trial.exchange(client, generation(dialect, { token_bytes: lineBytes }));
  client.disconnect();
  // The text is left out, and the rest is read.
  const scrape = await trial.scrape();
  return `${scrape.value("ollama_exporter_parse_errors_total")} parse errors`;
}

/** Clients of the soak, and number of memory samples. */
const SOAK_CLIENTS = 32;
const SAMPLE_MS = 200;

/** One scrape per this many requests of the soak. */
const REQUESTS_PER_SCRAPE = 1000;

/** Stream that lasts until its client disconnects. */
const ENDLESS = generation("native", { num_predict: 1000, pace_ms: PACE_MS });

/** Returns the soak's requests, from which the next is drawn uniformly. */
const MIXTURE: readonly { readonly exchange: Exchange; readonly leavesAt?: number }[] = [
  { exchange: generation("native", { num_predict: 32 }) },
  { exchange: generation("openai", { num_predict: 32 }) },
  { exchange: generation("openai", { num_predict: 32, usage: true }) },
  { exchange: generation("anthropic", { num_predict: 32 }) },
  { exchange: generation("native", { stream: false }) },
  { exchange: generation("openai", { stream: false }) },
  { exchange: generation("anthropic", { stream: false }) },
  { exchange: generation("native", { status: 404 }) },
  { exchange: generation("openai", { status: 500 }) },
  { exchange: generation("native", { num_predict: 8, fails: true }) },
  { exchange: ENDLESS, leavesAt: 1 },
  { exchange: download(100_000) },
  { exchange: upload(10_000, false) },
  { exchange: upload(10_000, true) },
];

async function mixedRequests(trial: Trial, { requests, seed }: SoakScale): Promise<string> {
  const random = randomFrom(seed);
  const samples: Sample[] = [];
  const sampler = setInterval(() => {
    const { exchanges } = trial.tally;
    // The process has exited, which makes the requests fail.
    trial.usage().then(({ rssBytes }) => samples.push({ exchanges, rssBytes }), () => clearInterval(sampler));
  }, SAMPLE_MS);
  await withClients(trial, requests, async (client, number) => {
    const { exchange, leavesAt } = MIXTURE[Math.floor(random() * MIXTURE.length)] as typeof MIXTURE[number];
    await trial.exchange(client, exchange, leavesAt);
    if (number % REQUESTS_PER_SCRAPE === 0) await trial.scrape();
  }).finally(() => clearInterval(sampler));
  const [first, second, third, last] = quarterMedians(samples, requests);
  const growth = last - second;
  const isJudged = requests / 4 >= SOAK_WARM_UP_REQUESTS;
  // NaN if RSS could not be read, which proves nothing.
  if (isJudged && !(growth <= SOAK_GROWTH_LIMIT_BYTES)) {
    trial.problem(
      `SOAK_GROWTH_LIMIT of ${mebibytes(SOAK_GROWTH_LIMIT_BYTES)} exceeded: RSS grows by ${mebibytes(growth)} ` +
        "from the second to the last quarter",
    );
  }
  const medians = [first, second, third, last].map(mebibytes).join(", ");
  return `median RSS by quarters: ${medians}${isJudged ? "" : " (too few requests to judge growth)"}`;
}

/** RSS after a number of exchanges. */
interface Sample {
  readonly exchanges: number;
  readonly rssBytes: number;
}

function quarterMedians(samples: readonly Sample[], requests: number): [number, number, number, number] {
  const median = (quarter: number): number => {
    const ofQuarter = samples.filter(({ exchanges }) => Math.floor(exchanges * 4 / requests) === quarter);
    return spreadOf(ofQuarter.map(({ rssBytes }) => rssBytes))?.median ?? NaN;
  };
  return [median(0), median(1), median(2), median(3)];
}

async function manyModels(trial: Trial, { models }: SoakScale): Promise<string> {
  const dialects = ["native", "openai", "anthropic"] as const;
  await withClients(trial, models, async (client, number) => {
    const dialect = dialects[number % dialects.length] as typeof dialects[number];
    await trial.exchange(client, generation(dialect, { model: `model-${number}:latest`, stream: number % 2 === 0 }));
  });
  const startedAt = performance.now();
  const scrape = await trial.scrape();
  const milliseconds = performance.now() - startedAt;
  const labels = scrape.labelValues("model").length;
  const maxLabels = Number(SETTINGS.modelLabelLimit.default) + OTHER_LABELS + LOADED_NAMES_LIMIT;
  if (labels > maxLabels) {
    trial.problem(`${labels} label values, limit is MODEL_LABEL_LIMIT + 2 + LOADED_NAMES_LIMIT = ${maxLabels}`);
  }
  if (milliseconds > SCRAPE_TIME_LIMIT_MS) {
    trial.problem(
      `SCRAPE_TIME_LIMIT of ${SCRAPE_TIME_LIMIT_MS} ms exceeded: /metrics takes ${milliseconds.toFixed(0)} ms`,
    );
  }
  if (scrape.text.length > SCRAPE_SIZE_LIMIT_BYTES) {
    trial.problem(
      `SCRAPE_SIZE_LIMIT of ${mebibytes(SCRAPE_SIZE_LIMIT_BYTES)} exceeded: /metrics has ${scrape.text.length} bytes`,
    );
  }
  const size = `${(scrape.text.length / 1000).toFixed(0)} kB`;
  return `${labels} label values, /metrics has ${size} and takes ${milliseconds.toFixed(0)} ms`;
}

/** Runs a function that many times, with the soak's number of concurrent clients. */
async function withClients(
  trial: Trial,
  times: number,
  act: (client: Client, number: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  await Promise.all(Array.from({ length: SOAK_CLIENTS }, async () => {
    const client = trial.client();
    while (next < times && !trial.isOver) await act(client, next++);
    client.disconnect();
  }));
}
