/**
 * Dashboard sections on traffic and latency. Those on the server's state are in `state_sections.ts`.
 *
 * @module
 */

import { graph, heatmap, type Query, type Section, stat, table } from "./panels.ts";

/** Label matchers for the dashboard's variables. A metric has one, two or all three of these labels. */
export const BY_INSTANCE = 'instance=~"$instance"';
/** For metrics with a `model` label. */
export const BY_MODEL = `${BY_INSTANCE}, model=~"$model"`;
/** For metrics with `model` and `api` labels. */
export const BY_API = `${BY_MODEL}, api=~"$api"`;

const FAILED = 'outcome!~"ok|client_error|client_closed"';

/** Colours of outcomes: server-side failures are red or orange, client-side ones are not. */
const OUTCOME_COLORS = {
  ok: "green",
  client_error: "yellow",
  client_closed: "blue",
  server_error: "red",
  stream_error: "dark-red",
  incomplete: "orange",
  upstream_unreachable: "purple",
  upstream_broken: "dark-orange",
};

const PHASE_COLORS = { load: "purple", "slot wait": "orange", prompt: "blue", generation: "green" };

/** Returns a query for a counter's summed per-second rate. */
export function rate(counter: string, selector: string, by = ""): string {
  const grouping = by === "" ? "" : ` by (${by})`;
  return `sum${grouping} (rate(${counter}{${selector}}[$__rate_interval]))`;
}

/** Returns queries for quantiles of a histogram; p50, p95 and p99 by default. */
export function quantiles(histogram: string, selector: string, of: readonly number[] = [0.5, 0.95, 0.99]): Query[] {
  return of.map((quantile) => ({
    expr: `histogram_quantile(${quantile}, ${rate(`${histogram}_bucket`, selector, "le")})`,
    legend: `p${quantile * 100}`,
    exemplar: quantile === Math.max(...of),
  }));
}

function buckets(histogram: string, selector: string): Query[] {
  const expr = `sum by (le) (increase(${histogram}_bucket{${selector}}[$__rate_interval]))`;
  return [{ expr, legend: "{{le}}", exemplar: true }];
}

/** Returns a query for a ratio: 0 if the numerator has no series, no data if the denominator is 0. */
function share(part: string, whole: string): string {
  return `(${part} or 0 * ${whole}) / (${whole} > 0)`;
}

const glance: Section = {
  title: "At a glance",
  panels: [
    stat({
      title: "Ollama",
      description:
        "Whether every selected Ollama server answers /api/version. Down: clients get status 502; see the OllamaDown alert.",
      queries: [{ expr: `min(ollama_up{${BY_INSTANCE}})`, legend: "up" }],
      unit: "short",
      steps: [["red", -Infinity], ["green", 1]],
      words: { "0": { text: "Down", color: "red" }, "1": { text: "Up", color: "green" } },
    }),
    stat({
      title: "Requests per second",
      description: "Completed inference requests. 0 while clients are active: they bypass the exporter.",
      queries: [{ expr: rate("ollama_requests_total", BY_MODEL), legend: "requests" }],
      unit: "reqps",
      steps: [["blue", -Infinity]],
    }),
    stat({
      title: "Failed",
      description:
        "Share of requests that failed on the server side: errors, broken or incomplete responses. Above 5 % users notice; see the panel below for the kinds of failure.",
      queries: [{
        expr: share(
          rate("ollama_request_outcomes_total", `${BY_API}, ${FAILED}`),
          rate("ollama_request_outcomes_total", BY_API),
        ),
        legend: "failed",
      }],
      unit: "percentunit",
      steps: [["green", -Infinity], ["orange", 0.01], ["red", 0.05]],
    }),
    stat({
      title: "Tokens in",
      description: "Prompt tokens per second, including those served from the prompt cache.",
      queries: [{ expr: rate("ollama_tokens_processed_total", BY_MODEL), legend: "in" }],
      unit: "short",
      steps: [["blue", -Infinity]],
    }),
    stat({
      title: "Tokens out",
      description:
        "Generated tokens per second over all requests: the throughput of the hardware. A drop while requests are waiting: the GPU has slowed down, or models are loading.",
      queries: [{ expr: rate("ollama_tokens_generated_total", BY_MODEL), legend: "out" }],
      unit: "short",
      steps: [["blue", -Infinity]],
    }),
    stat({
      title: "In flight",
      description: "Requests currently in flight.",
      queries: [{ expr: `sum(ollama_requests_in_flight{${BY_API}})`, legend: "in flight" }],
      unit: "short",
      steps: [["blue", -Infinity]],
    }),
    stat({
      title: "Waiting",
      description:
        "Requests waiting for their first byte: queue, load, prompt evaluation. Above the server's slots for minutes: it is overloaded.",
      queries: [{ expr: `sum(ollama_requests_waiting{${BY_API}})`, legend: "waiting" }],
      unit: "short",
      steps: [["green", -Infinity], ["orange", 4], ["red", 8]],
    }),
    stat({
      title: "First token p95",
      description: "95 % of streams produce their first token within this time. Above 5 s a chat feels stuck.",
      queries: quantiles("ollama_time_to_first_token_seconds", BY_API, [0.95]),
      unit: "s",
      steps: [["green", -Infinity], ["orange", 5], ["red", 20]],
    }),
    graph({
      title: "Requests by outcome",
      description:
        "Requests by outcome. Red and orange are server-side failures: server_error is a 5xx from Ollama, stream_error an error inside a stream, incomplete a stream without its terminal message, upstream_* a failed connection. client_closed: users give up waiting.",
      queries: [{ expr: rate("ollama_request_outcomes_total", BY_API, "outcome"), legend: "{{outcome}}" }],
      unit: "reqps",
      stacking: "normal",
      colors: OUTCOME_COLORS,
    }),
    graph({
      title: "Tokens per second",
      description:
        "Prompt and generated tokens, and the prompt tokens served from the cache (if the server reports them).",
      queries: [
        { expr: rate("ollama_tokens_processed_total", BY_MODEL), legend: "prompt" },
        { expr: rate("ollama_tokens_cached_total", BY_MODEL), legend: "prompt, cached" },
        { expr: rate("ollama_tokens_generated_total", BY_MODEL), legend: "generated" },
      ],
      unit: "short",
    }),
    graph({
      title: "In flight and waiting",
      description:
        "Open requests. The gap between the lines is the requests being answered; if it stops growing under load, all slots are busy.",
      queries: [
        { expr: `sum(ollama_requests_in_flight{${BY_API}})`, legend: "in flight" },
        { expr: `sum(ollama_requests_waiting{${BY_API}})`, legend: "waiting" },
      ],
      unit: "short",
      colors: { "in flight": "blue", waiting: "orange" },
    }),
  ],
};

const latency: Section = {
  title: "Latency",
  panels: [
    graph({
      title: "Time to first token",
      description:
        "Streams: time from the request's arrival to the first output, including thinking and tool calls. Rises with queueing, model loads and long prompts.",
      queries: quantiles("ollama_time_to_first_token_seconds", BY_API),
      unit: "s",
      logarithmic: true,
    }),
    graph({
      title: "Time per output token",
      description:
        "Generation time per output token. 0.1 s is slower than people read; a jump usually means that part of the model moved to the CPU.",
      queries: quantiles("ollama_time_per_output_token_seconds", BY_API),
      unit: "s",
      logarithmic: true,
    }),
    graph({
      title: "End to end",
      description:
        "Duration of complete responses, as reported by the server if it does. Depends on response length: compare the two.",
      queries: quantiles("ollama_response_seconds", BY_MODEL),
      unit: "s",
      logarithmic: true,
    }),
    heatmap({
      title: "Time to first token, all requests",
      description: "A second band far above the first is cold starts or queueing, which an average hides.",
      queries: buckets("ollama_time_to_first_token_seconds", BY_API),
      unit: "s",
    }),
    heatmap({
      title: "Time per output token, all requests",
      description:
        "Each model and each kind of hardware forms a band of its own. A band that splits: some hosts or models have slowed down.",
      queries: buckets("ollama_time_per_output_token_seconds", BY_API),
      unit: "s",
    }),
    heatmap({
      title: "End to end, all requests",
      description:
        "Responses by duration. Dark cells at the top are responses that take minutes; check whether their length explains it.",
      queries: buckets("ollama_response_seconds", BY_MODEL),
      unit: "s",
    }),
  ],
};

function phase(metric: string, legend: keyof typeof PHASE_COLORS, whole?: string): Query {
  const seconds = rate(`${metric}_sum`, BY_MODEL);
  return { expr: whole === undefined ? seconds : `${seconds} / (${whole} > 0)`, legend };
}

const ANSWERS_WITH_DURATIONS = rate("ollama_load_duration_seconds_count", BY_MODEL);

const time: Section = {
  title: "Where time goes",
  panels: [
    graph({
      title: "Time per response",
      description:
        "Phases of the average response with reported durations, bottom to top. Load grows: models evict each other. Slot wait: too few slots. Prompt: longer prompts or no cache hits. Generation: longer responses or slower hardware.",
      queries: [
        phase("ollama_load_duration_seconds", "load", ANSWERS_WITH_DURATIONS),
        phase("ollama_wait_duration_seconds", "slot wait", ANSWERS_WITH_DURATIONS),
        phase("ollama_prompt_eval_duration_seconds", "prompt", ANSWERS_WITH_DURATIONS),
        phase("ollama_eval_duration_seconds", "generation", ANSWERS_WITH_DURATIONS),
      ],
      unit: "s",
      stacking: "normal",
      colors: PHASE_COLORS,
    }),
    graph({
      title: "Share of time",
      description:
        "The same as shares of total time. Healthy: mostly generation. Load or slot wait above a quarter: users spend too much time waiting.",
      queries: [
        phase("ollama_load_duration_seconds", "load"),
        phase("ollama_wait_duration_seconds", "slot wait"),
        phase("ollama_prompt_eval_duration_seconds", "prompt"),
        phase("ollama_eval_duration_seconds", "generation"),
      ],
      unit: "short",
      stacking: "percent",
      colors: PHASE_COLORS,
    }),
    graph({
      title: "Cold starts per minute",
      description:
        "Responses whose model took more than a second to become ready. Steady traffic should have none; many mean that models are unloaded too soon or evict each other.",
      queries: [{
        expr: `60 * (${rate("ollama_load_duration_seconds_count", BY_MODEL, "model")} - ${
          rate("ollama_load_duration_seconds_bucket", `${BY_MODEL}, le=~"1|1\\\\.0"`, "model")
        })`,
        legend: "{{model}}",
      }],
      unit: "short",
      stacking: "normal",
    }),
    graph({
      title: "Generation speed per request",
      description: "Tokens per second as one user sees them. p5 below 10: people read faster than the model writes.",
      queries: quantiles("ollama_tokens_per_second", BY_MODEL, [0.5, 0.95]).concat(
        quantiles("ollama_tokens_per_second", BY_MODEL, [0.05]),
      ),
      unit: "short",
    }),
    graph({
      title: "Load",
      description:
        "Time until a runner was ready: queueing and loading. p50 is a warm model and should be well below a second; p99 is a cold start.",
      queries: quantiles("ollama_load_duration_seconds", BY_MODEL),
      unit: "s",
      logarithmic: true,
    }),
    graph({
      title: "Slot wait",
      description:
        "Time a request waited for a free slot of a loaded model. p95 above a second: raise OLLAMA_NUM_PARALLEL, or add a host.",
      queries: quantiles("ollama_wait_duration_seconds", BY_MODEL),
      unit: "s",
      logarithmic: true,
    }),
  ],
};

function inRange(counter: string, selector: string, by: string): string {
  return `sum by (${by}) (increase(${counter}{${selector}}[$__range]))`;
}

function quantileInRange(quantile: number, histogram: string, selector: string): string {
  return `histogram_quantile(${quantile}, ${inRange(`${histogram}_bucket`, selector, "model, le")})`;
}

const models: Section = {
  title: "Models",
  panels: [
    table({
      title: "Models",
      description: "Models used in the selected time range. Click a name to show only that model.",
      queries: [
        { expr: inRange("ollama_requests_total", BY_MODEL, "model"), legend: "Requests" },
        {
          expr: share(
            inRange("ollama_request_outcomes_total", `${BY_API}, ${FAILED}`, "model"),
            inRange("ollama_request_outcomes_total", BY_API, "model"),
          ),
          legend: "Failed",
        },
        { expr: quantileInRange(0.95, "ollama_time_to_first_token_seconds", BY_API), legend: "First token p95" },
        { expr: quantileInRange(0.5, "ollama_response_seconds", BY_MODEL), legend: "Duration p50" },
        { expr: quantileInRange(0.95, "ollama_response_seconds", BY_MODEL), legend: "Duration p95" },
        { expr: quantileInRange(0.5, "ollama_tokens_per_second", BY_MODEL), legend: "Tokens/s p50" },
        { expr: inRange("ollama_tokens_processed_total", BY_MODEL, "model"), legend: "Tokens in" },
        { expr: inRange("ollama_tokens_generated_total", BY_MODEL, "model"), legend: "Tokens out" },
        {
          expr: `${inRange("ollama_tokens_cached_total", BY_MODEL, "model")} / (${
            inRange("ollama_tokens_processed_total", BY_MODEL, "model")
          } > 0)`,
          legend: "Cache hits",
        },
        {
          expr: `${inRange("ollama_load_duration_seconds_count", BY_MODEL, "model")} - ${
            inRange("ollama_load_duration_seconds_bucket", `${BY_MODEL}, le=~"1|1\\\\.0"`, "model")
          }`,
          legend: "Cold starts",
        },
      ],
      unit: "short",
      height: 9,
      columns: [
        {
          name: "Model",
          label: "model",
          link: "/d/ollama-exporter?${__url_time_range}&${instance:queryparam}&var-model=${__data.fields.Model}",
        },
        { name: "Requests" },
        { name: "Failed", unit: "percentunit", steps: [["transparent", -Infinity], ["orange", 0.01], ["red", 0.05]] },
        { name: "First token p95", unit: "s", steps: [["transparent", -Infinity], ["orange", 5], ["red", 20]] },
        { name: "Duration p50", unit: "s" },
        { name: "Duration p95", unit: "s" },
        { name: "Tokens/s p50" },
        { name: "Tokens in" },
        { name: "Tokens out" },
        { name: "Cache hits", unit: "percentunit" },
        { name: "Cold starts" },
      ],
    }),
  ],
};

/** Sections on traffic, top to bottom. */
export const TRAFFIC_SECTIONS: readonly Section[] = [glance, latency, time, models];
