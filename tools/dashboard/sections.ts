/**
 * What the dashboard shows: traffic and latency. What is in the machine is in `state_sections.ts`.
 *
 * @module
 */

import { graph, heatmap, type Query, type Section, stat, table } from "./panels.ts";

/** Selects what the variables of the dashboard select. Metrics have one, two or all three of the labels. */
export const BY_INSTANCE = 'instance=~"$instance"';
/** The same for metrics with the label `model`. */
export const BY_MODEL = `${BY_INSTANCE}, model=~"$model"`;
/** The same for metrics with the labels `model` and `api`. */
export const BY_API = `${BY_MODEL}, api=~"$api"`;

const FAILED = 'outcome!~"ok|client_error|client_closed"';

/** Colours of outcomes: what failed is red or orange, what the client did is not. */
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

const PHASE_COLORS = { load: "purple", "wait for a slot": "orange", prompt: "blue", generation: "green" };

/** Growth per second of a counter, summed up. */
export function rate(counter: string, selector: string, by = ""): string {
  const grouping = by === "" ? "" : ` by (${by})`;
  return `sum${grouping} (rate(${counter}{${selector}}[$__rate_interval]))`;
}

/** Three quantiles of a histogram. */
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

/** A ratio that is 0 where nothing was counted above, and nothing where nothing was counted below. */
function share(part: string, whole: string): string {
  return `(${part} or 0 * ${whole}) / (${whole} > 0)`;
}

const glance: Section = {
  title: "At a glance",
  panels: [
    stat({
      title: "Ollama",
      description:
        "Whether every selected Ollama answers /api/version. Down: clients get status 502; see the alert OllamaDown.",
      queries: [{ expr: `min(ollama_up{${BY_INSTANCE}})`, legend: "up" }],
      unit: "short",
      steps: [["red", -Infinity], ["green", 1]],
      words: { "0": { text: "Down", color: "red" }, "1": { text: "Up", color: "green" } },
    }),
    stat({
      title: "Requests per second",
      description:
        "Requests to the inference APIs that have ended. 0 while clients are busy: they do not use the exporter's address.",
      queries: [{ expr: rate("ollama_requests_total", BY_MODEL), legend: "requests" }],
      unit: "reqps",
      steps: [["blue", -Infinity]],
    }),
    stat({
      title: "Failed",
      description:
        "Share of requests that failed on the server's side: errors, broken or unfinished answers. Over 5 %: users notice; the panel below says how they fail.",
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
      description: "Prompt tokens per second, those served from the prompt cache included.",
      queries: [{ expr: rate("ollama_tokens_processed_total", BY_MODEL), legend: "in" }],
      unit: "short",
      steps: [["blue", -Infinity]],
    }),
    stat({
      title: "Tokens out",
      description:
        "Generated tokens per second over all requests: the throughput of the hardware. Falls while requests wait: the GPU lost speed or models are loading.",
      queries: [{ expr: rate("ollama_tokens_generated_total", BY_MODEL), legend: "out" }],
      unit: "short",
      steps: [["blue", -Infinity]],
    }),
    stat({
      title: "In flight",
      description: "Requests that have not ended, now.",
      queries: [{ expr: `sum(ollama_requests_in_flight{${BY_API}})`, legend: "in flight" }],
      unit: "short",
      steps: [["blue", -Infinity]],
    }),
    stat({
      title: "Waiting",
      description:
        "Requests without a first byte: queue, load, prompt evaluation. More than the slots of the server for minutes: it has more to do than it can.",
      queries: [{ expr: `sum(ollama_requests_waiting{${BY_API}})`, legend: "waiting" }],
      unit: "short",
      steps: [["green", -Infinity], ["orange", 4], ["red", 8]],
    }),
    stat({
      title: "First token p95",
      description: "19 of 20 streams show their first token within this time. Over 5 s a chat feels stuck.",
      queries: quantiles("ollama_time_to_first_token_seconds", BY_API, [0.95]),
      unit: "s",
      steps: [["green", -Infinity], ["orange", 5], ["red", 20]],
    }),
    graph({
      title: "Requests by outcome",
      description:
        "How requests end. Red and orange are failures of the server's side: server_error is Ollama's own status, stream_error an error inside an answer, incomplete an answer without its end, upstream_* no connection. client_closed: users do not want to wait.",
      queries: [{ expr: rate("ollama_request_outcomes_total", BY_API, "outcome"), legend: "{{outcome}}" }],
      unit: "reqps",
      stacking: "normal",
      colors: OUTCOME_COLORS,
    }),
    graph({
      title: "Tokens per second",
      description:
        "Tokens that pass through, and how many of the prompt's came from the cache (where the server reports them).",
      queries: [
        { expr: rate("ollama_tokens_processed_total", BY_MODEL), legend: "prompt" },
        { expr: rate("ollama_tokens_cached_total", BY_MODEL), legend: "of them cached" },
        { expr: rate("ollama_tokens_generated_total", BY_MODEL), legend: "generated" },
      ],
      unit: "short",
    }),
    graph({
      title: "In flight and waiting",
      description:
        "Open requests. The gap between the lines is what is being generated; when it does not grow with the load, all slots are taken.",
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
        "Streams: from the request's arrival to the first output, thinking and tool calls included. Rises with queueing, loads and long prompts.",
      queries: quantiles("ollama_time_to_first_token_seconds", BY_API),
      unit: "s",
      logarithmic: true,
    }),
    graph({
      title: "Time per output token",
      description:
        "Generation time for each token. 0.1 s is slower than people read; a jump usually means that part of the model went to the CPU.",
      queries: quantiles("ollama_time_per_output_token_seconds", BY_API),
      unit: "s",
      logarithmic: true,
    }),
    graph({
      title: "End to end",
      description:
        "Complete answers, by the server's own figure where it reports one. Depends on the answers' length: compare with it before worrying.",
      queries: quantiles("ollama_response_seconds", BY_MODEL),
      unit: "s",
      logarithmic: true,
    }),
    heatmap({
      title: "Time to first token, all requests",
      description: "A second band far above the first is cold starts or a queue: an average hides it.",
      queries: buckets("ollama_time_to_first_token_seconds", BY_API),
      unit: "s",
    }),
    heatmap({
      title: "Time per output token, all requests",
      description:
        "Each model and each kind of hardware draws its own band. A band that splits: some hosts or models have slowed down.",
      queries: buckets("ollama_time_per_output_token_seconds", BY_API),
      unit: "s",
    }),
    heatmap({
      title: "End to end, all requests",
      description:
        "Answers by their duration. Dark cells at the top are answers that take minutes; check whether they are as long as that.",
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
      title: "Seconds of an answer",
      description:
        "Average answer with reported durations, from bottom to top. Load grows: models push each other out. Wait: too few slots. Prompt: longer prompts or no cache hits. Generation: longer answers or slower hardware.",
      queries: [
        phase("ollama_load_duration_seconds", "load", ANSWERS_WITH_DURATIONS),
        phase("ollama_wait_duration_seconds", "wait for a slot", ANSWERS_WITH_DURATIONS),
        phase("ollama_prompt_eval_duration_seconds", "prompt", ANSWERS_WITH_DURATIONS),
        phase("ollama_eval_duration_seconds", "generation", ANSWERS_WITH_DURATIONS),
      ],
      unit: "s",
      stacking: "normal",
      colors: PHASE_COLORS,
    }),
    graph({
      title: "Share of the time",
      description:
        "The same as shares of all time spent. Healthy: mostly generation. Load or wait over a quarter: users wait for nothing.",
      queries: [
        phase("ollama_load_duration_seconds", "load"),
        phase("ollama_wait_duration_seconds", "wait for a slot"),
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
        "Answers whose model took over a second to be ready. Steady traffic should have none; many mean that models are unloaded too soon or push each other out.",
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
      title: "Generation speed of a request",
      description:
        "Tokens per second that one user sees. The slowest twentieth (p5) under 10: reading is faster than writing.",
      queries: quantiles("ollama_tokens_per_second", BY_MODEL, [0.5, 0.95]).concat(
        quantiles("ollama_tokens_per_second", BY_MODEL, [0.05]),
      ),
      unit: "short",
    }),
    graph({
      title: "Load",
      description:
        "Time until a runner was ready: queue and load. p50 is warm and should be well under a second; p99 is a cold start.",
      queries: quantiles("ollama_load_duration_seconds", BY_MODEL),
      unit: "s",
      logarithmic: true,
    }),
    graph({
      title: "Wait for a slot",
      description:
        "Time that a loaded model had no free slot for the request. Over a second at p95: raise OLLAMA_NUM_PARALLEL, or add a host.",
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
      description: "All models that were used in the chosen time. A click on a name shows only that model.",
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
        { expr: quantileInRange(0.5, "ollama_response_seconds", BY_MODEL), legend: "Answer p50" },
        { expr: quantileInRange(0.95, "ollama_response_seconds", BY_MODEL), legend: "Answer p95" },
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
        { name: "Answer p50", unit: "s" },
        { name: "Answer p95", unit: "s" },
        { name: "Tokens/s p50" },
        { name: "Tokens in" },
        { name: "Tokens out" },
        { name: "Cache hits", unit: "percentunit" },
        { name: "Cold starts" },
      ],
    }),
  ],
};

/** The sections about traffic, from top to bottom. */
export const TRAFFIC_SECTIONS: readonly Section[] = [glance, latency, time, models];
