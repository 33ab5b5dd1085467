/**
 * Recorded exchanges with real Ollama servers, replayed through the exporter: bytes, headers and figures.
 *
 * Without `--quiet`, `deno test` prints how many exchanges were replayed and how many figures were compared.
 */

import { assertEquals } from "@std/assert";
import { endpointOf } from "../../lib/reading/endpoints.ts";
import { type FakeOllama, startFakeOllama } from "../fake_ollama/mod.ts";
import { bodyOf, readRecordings, type Recording, type ReplayForm, replaying } from "../fake_ollama/recordings.ts";
import { anyModel } from "../fake_ollama/state.ts";
import { latin1 } from "../fake_ollama/wire.ts";
import { random } from "../support/fixtures.ts";
import { type Scrape, startExporterOn, type TestExporter } from "../support/helpers.ts";
import { RawClient, type RawResponse, valuesOf } from "../support/raw_client.ts";
import { figuresOf, type RecordedFigures } from "../support/recorded_figures.ts";
import { readUsagePairs } from "../support/usage_pairs.ts";

const RECORDINGS = readRecordings();
const CUT_RUNS = 20;
const CUTS_LIMIT = 12;
/** Recorded times are divided by this, so that messages still come apart. */
const TIME_DIVISOR = 100;
/** Relative: sums of floating-point numbers differ by their order. */
const TOLERANCE = 1e-9;
/** Names of the recorded models: the exporter finds them in /api/tags. */
const MODELS = ["tiny", "tinyctx", "thinker", "toolcaller", "chatter", "tinybert"].map((name) =>
  anyModel(`${name}:latest`)
);

/** Metrics of a model, and their growth with each answer; `undefined` where nothing is observed. */
const FIGURES: Record<string, (figures: RecordedFigures) => number | undefined> = {
  ollama_tokens_processed_total: ({ promptTokens }) => promptTokens,
  ollama_tokens_generated_total: ({ outputTokens }) => outputTokens,
  ollama_request_prompt_tokens_sum: ({ promptTokens }) => promptTokens,
  ollama_request_generated_tokens_sum: ({ outputTokens }) => outputTokens,
  ollama_load_duration_seconds_sum: ({ loadSeconds }) => loadSeconds,
  ollama_prompt_eval_duration_seconds_sum: ({ promptEvalSeconds }) => promptEvalSeconds,
  ollama_eval_duration_seconds_sum: ({ evalSeconds }) => evalSeconds,
  ollama_wait_duration_seconds_sum: ({ waitSeconds }) => waitSeconds,
  ollama_request_prompt_tokens_count: ({ promptTokens }) => count(promptTokens),
  ollama_request_generated_tokens_count: ({ outputTokens }) => count(outputTokens),
  ollama_load_duration_seconds_count: ({ loadSeconds }) => count(loadSeconds),
  ollama_prompt_eval_duration_seconds_count: ({ promptEvalSeconds }) => count(promptEvalSeconds),
  ollama_eval_duration_seconds_count: ({ evalSeconds }) => count(evalSeconds),
  ollama_wait_duration_seconds_count: ({ waitSeconds }) => count(waitSeconds),
};

function count(figure: number | undefined): number | undefined {
  return figure === undefined ? undefined : 1;
}

/** A figure of the exposition, its labels, and its growth with each answer. */
type Growth = readonly [metric: string, labels: Record<string, string>, growth: number];

/** Returns all figures that an answer changes, or must not change. */
function growthsOf(recording: Recording): Growth[] {
  const { method, target, status } = recording;
  const { route, api, operation } = endpointOf(method, target);
  const figures = figuresOf(recording);
  const { outcome, finishReason, totalSeconds, tokensPerSecond, toolCalls } = figures;
  const growths: Growth[] = [
    ["ollama_http_requests_total", { route, method, code: String(status) }, 1],
    ["ollama_http_response_bytes_total", { route }, bodyOf(recording).length],
    ["ollama_exporter_parse_errors_total", {}, 0],
    ["ollama_exporter_internal_errors_total", {}, 0],
    ["ollama_exporter_upstream_errors_total", {}, 0],
  ];
  if (operation !== undefined) {
    growths.push(["ollama_transfers_total", { operation, outcome }, 1]);
    // No recording moves bytes between Ollama and a registry: `create` reports a pass over a local file.
    growths.push(["ollama_transfer_bytes_total", { operation }, 0]);
  }
  if (api === undefined) return growths;
  const named = figures.model ?? modelOf(recording);
  const model = MODELS.some(({ name }) => name === named) && named !== undefined ? named : "unknown";
  growths.push(["ollama_requests_total", { model }, 1]);
  growths.push(["ollama_request_outcomes_total", { model, api, outcome }, 1]);
  growths.push(["ollama_request_outcomes_total", {}, 1]);
  for (const [metric, figure] of Object.entries(FIGURES)) growths.push([metric, { model }, figure(figures) ?? 0]);
  growths.push(["ollama_response_seconds_count", { model }, outcome === "ok" ? 1 : 0]);
  if (totalSeconds !== undefined) growths.push(["ollama_response_seconds_sum", { model }, totalSeconds]);
  if (finishReason !== undefined) {
    growths.push(["ollama_finish_reasons_total", { model, api, reason: finishReason }, 1]);
  }
  growths.push(["ollama_finish_reasons_total", {}, finishReason === undefined ? 0 : 1]);
  growths.push(["ollama_tool_calls_total", {}, toolCalls ?? 0]);
  if (route.startsWith("/api/")) {
    growths.push(["ollama_tokens_per_second_sum", { model }, tokensPerSecond ?? 0]);
    growths.push(["ollama_tokens_per_second_count", { model }, count(tokensPerSecond) ?? 0]);
  }
  return growths;
}

/** The model that the request names, as /api/tags spells it; `undefined` where the body is not JSON. */
function modelOf({ requestBody }: Recording): string | undefined {
  const name = /^\{"model": ?"(\w+)".*\}$/.exec(requestBody)?.[1];
  return name === undefined ? undefined : `${name}:latest`;
}

/** Returns the forms in which a recording is replayed after the recorded one. */
function formsOf(recording: Recording): ReplayForm[] {
  const next = random([...recording.name].reduce((sum, character) => sum * 31 + character.charCodeAt(0) | 0, 7));
  const { length } = bodyOf(recording);
  if (length < 2) return ["whole"];
  const cuts = Array.from({ length: CUT_RUNS }, () => ({
    cuts: Array.from({ length: 1 + Math.floor(next() * CUTS_LIMIT) }, () => 1 + Math.floor(next() * (length - 1)))
      .sort((a, b) => a - b),
  }));
  return ["whole", ...cuts];
}

/** What was replayed. */
interface Tally {
  recordings: number;
  exchanges: number;
  figures: number;
  /** What was not as recorded. */
  readonly differences: string[];
}

async function replayOnce(recording: Recording, client: RawClient): Promise<void> {
  const { name, method, target, requestHeaders, requestBody, status, statusLine } = recording;
  const headers = requestHeaders.map((header) => header.join(": ")).filter((line) => !/^content-length:/i.test(line));
  await client.request(`${method} ${target}`, headers, requestBody === "" ? null : requestBody);
  const response = await client.response(method);
  assertEquals(response.body, latin1(bodyOf(recording)), name);
  assertEquals([response.statusLine, response.end], [statusLine, "complete"], name);
  assertEquals(response.chunks.length > 0, recording.framing === "chunked", name);
  if (status !== 204) assertHeaders(response, recording);
}

/** Headers of the connection are the exporter's; all others are Ollama's, in any order. */
function assertHeaders(response: RawResponse, recording: Recording): void {
  const own = ["connection", "keep-alive", "transfer-encoding"];
  const others = (headers: Recording["headers"]) => {
    const names = [...new Set(headers.map(([name]) => name.toLowerCase()))].filter((name) => !own.includes(name));
    return Object.fromEntries(names.map((name) => [name, valuesOf({ headers }, name).join(", ")]));
  };
  const { "content-length": length, ...got } = others(response.headers);
  const { "content-length": recordedLength, ...recorded } = others(recording.headers);
  assertEquals(got, recorded, recording.name);
  assertEquals(length, recordedLength, recording.name);
}

/** Compares the growth of all figures since an exposition, and adds what differs. Returns how many were compared. */
function compareGrowth(recording: Recording, before: Scrape, after: Scrape, tally: Tally, answers: number): void {
  for (const [metric, labels, growth] of growthsOf(recording)) {
    const grown = (after.value(metric, labels) ?? 0) - (before.value(metric, labels) ?? 0);
    const isEqual = Math.abs(grown - growth * answers) <= TOLERANCE * answers * Math.max(1, growth);
    const what = `${recording.name}: ${metric} ${JSON.stringify(labels)} grew by ${grown}`;
    if (!isEqual) tally.differences.push(`${what}, not ${growth * answers}, in ${answers} answers`);
    tally.figures += 1;
  }
}

async function replay(fake: FakeOllama, exporter: TestExporter, recording: Recording, tally: Tally): Promise<void> {
  using client = await RawClient.connect(exporter.port);
  const before = await exporter.scrape();
  const observed = exporter.observations.length;
  const run = async (form: ReplayForm, exchange: number): Promise<void> => {
    fake.behaviour.script = replaying(recording, form);
    await replayOnce(recording, client);
    const { outcome } = await exporter.observation(observed + exchange);
    assertEquals(outcome, figuresOf(recording).outcome, recording.name);
    fake.behaviour.script = undefined;
  };
  await run({ timeScale: 1 / TIME_DIVISOR }, 1);
  compareGrowth(recording, before, await exporter.scrape(), tally, 1);
  const forms = formsOf(recording);
  for (const [index, form] of forms.entries()) await run(form, index + 2);
  compareGrowth(recording, before, await exporter.scrape(), tally, forms.length + 1);
  tally.recordings += 1;
  tally.exchanges += forms.length + 1;
}

for (const server of ["deno", "node"] as const) {
  Deno.test(`createExporter() forwards and measures every recording on ${server}, as recorded, whole and cut`, async () => {
    await using fake = await startFakeOllama({ models: MODELS });
    await using exporter = await startExporterOn(server, fake);
    const tally: Tally = { recordings: 0, exchanges: 0, figures: 0, differences: [] };
    for (const recording of RECORDINGS) await replay(fake, exporter, recording, tally);
    assertEquals(tally.differences, []);
    assertEquals([fake.errors, tally.recordings], [[], 106]);
    const { recordings, exchanges, figures } = tally;
    const row = `${recordings} recordings, ${exchanges} exchanges, ${figures} figures`;
    Deno.stdout.writeSync(new TextEncoder().encode(`Replayed over ${server}: ${row}\n`));
  });
}

for (const server of ["deno", "node"] as const) {
  Deno.test(`createExporter() hides requested usage on ${server}, so that streams are as recorded without it`, async () => {
    await using fake = await startFakeOllama({ models: MODELS });
    await using exporter = await startExporterOn(server, fake, { openaiStreamUsage: true });
    let exchanges = 0;
    for (const { plain, withUsage, plainText } of readUsagePairs()) {
      const before = await exporter.scrape();
      const forms = [{ timeScale: 1 / TIME_DIVISOR }, ...formsOf(withUsage)];
      for (const form of forms) {
        fake.behaviour.script = replaying(withUsage, form);
        const response = await exporter.post(plain.target, JSON.parse(plain.requestBody));
        assertEquals(await response.text(), plainText, `${plain.name} ${JSON.stringify(form)}`);
        await exporter.observation(++exchanges);
        fake.behaviour.script = undefined;
      }
      const after = await exporter.scrape();
      const { promptTokens = 0, outputTokens = 0 } = figuresOf(withUsage);
      const grown = ["ollama_tokens_processed_total", "ollama_tokens_generated_total", "ollama_requests_total"]
        .map((metric) => (after.value(metric) ?? 0) - (before.value(metric) ?? 0));
      assertEquals(grown, [promptTokens, outputTokens, 1].map((growth) => growth * forms.length), plain.name);
      assertEquals(after.value("ollama_usage_missing_total"), 0, plain.name);
    }
  });
}
