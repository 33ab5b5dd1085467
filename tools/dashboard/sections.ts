/**
 * Dashboard sections on traffic and latency. Those on the server's state are in `state_sections.ts`.
 *
 * @module
 */

import { graph, heatmap, type Query, type Section, stat, table } from "./panels.ts";
import {
  buckets,
  BY_API,
  BY_INSTANCE,
  BY_MODEL,
  FAILED,
  inRange,
  quantileInRange,
  quantiles,
  quotient,
  rate,
  share,
  TOKENS_PER_SECOND,
  windowRate,
} from "./queries.ts";

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

/** Share of requests that failed on the server side. */
const failedShare = share(
  windowRate("ollama_request_outcomes_total", `${BY_API}, ${FAILED}`),
  windowRate("ollama_request_outcomes_total", BY_API),
);

const glance: Section = {
  title: "At a glance",
  panels: [
    stat({
      title: "Ollama",
      description:
        "Whether every selected Ollama server answers /api/version. Down: clients get status 502; see the OllamaDown alert.",
      queries: [{ expr: `min(ollama_up{${BY_INSTANCE}})`, legend: "up" }],
      unit: "short",
      alert: "OllamaDown",
      steps: [["red", -Infinity], ["green", 1]],
      words: { "0": { text: "Down", color: "red" }, "1": { text: "Up", color: "green" } },
    }),
    stat({
      title: "Request rate",
      description: "Completed inference requests per second. 0 while clients are active: they bypass the exporter.",
      queries: [{ expr: windowRate("ollama_requests_total", BY_MODEL), legend: "requests" }],
      unit: "reqps",
      steps: [["blue", -Infinity]],
    }),
    stat({
      title: "Failed",
      description:
        "Share of requests that failed on the server side: errors, broken or incomplete responses. Above 5 % users notice; see the panel below for the kinds of failure.",
      queries: [{ expr: failedShare, legend: "failed" }],
      unit: "percentunit",
      alert: "OllamaRequestsFailing",
      steps: [["green", -Infinity], ["orange", 0.01], ["red", 0.05]],
    }),
    stat({
      title: "Prompt token rate",
      description: "Prompt tokens per second, including those served from the prompt cache.",
      queries: [{ expr: windowRate("ollama_tokens_processed_total", BY_MODEL), legend: "prompt" }],
      unit: TOKENS_PER_SECOND,
      steps: [["blue", -Infinity]],
    }),
    stat({
      title: "Generated token rate",
      description:
        "Generated tokens per second over all requests: the throughput of the hardware. A drop while requests are waiting: the GPU has slowed down, or models are loading.",
      queries: [{ expr: windowRate("ollama_tokens_generated_total", BY_MODEL), legend: "generated" }],
      unit: TOKENS_PER_SECOND,
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
      alert: "OllamaRequestsWaiting",
      steps: [["green", -Infinity], ["orange", 4], ["red", 8]],
    }),
    stat({
      title: "First token p95",
      description: "95 % of streams produce their first token within this time. Above 5 s a chat feels stuck.",
      queries: quantiles("ollama_time_to_first_token_seconds", BY_API, [0.95]),
      unit: "s",
      alert: "OllamaFirstTokenSlow",
      steps: [["green", -Infinity], ["orange", 5], ["red", 20]],
    }),
    graph({
      title: "Request rate by outcome",
      description:
        "Requests by outcome. Red and orange are server-side failures: server_error is a 5xx from Ollama, stream_error an error inside a stream, incomplete a stream without its terminal message, upstream_* a failed connection. client_closed: users give up waiting.",
      queries: [{ expr: rate("ollama_request_outcomes_total", BY_API, "outcome"), legend: "{{outcome}}" }],
      unit: "reqps",
      width: 6,
      alert: "OllamaRequestsFailing",
      stacking: "normal",
      colors: OUTCOME_COLORS,
    }),
    graph({
      title: "Share of requests that failed",
      description:
        "Server-side failures. The lines are the shares at which OllamaRequestsFailing fires: the lower one for busy hosts, the upper one for hosts with few requests.",
      queries: [{ expr: failedShare, legend: "failed" }],
      unit: "percentunit",
      width: 6,
      alert: "OllamaRequestsFailing",
      colors: { failed: "red" },
      lines: [["orange", 0.05], ["red", 0.2]],
    }),
    graph({
      title: "Token rate",
      description:
        "Prompt and generated tokens per second, and the prompt tokens served from the cache (if the server reports them).",
      queries: [
        { expr: rate("ollama_tokens_processed_total", BY_MODEL), legend: "prompt" },
        { expr: rate("ollama_tokens_cached_total", BY_MODEL), legend: "prompt, cached" },
        { expr: rate("ollama_tokens_generated_total", BY_MODEL), legend: "generated" },
      ],
      unit: TOKENS_PER_SECOND,
      width: 6,
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
      width: 6,
      alert: "OllamaRequestsWaiting",
      colors: { "in flight": "blue", waiting: "orange" },
      lines: [["red", 8]],
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
      alert: "OllamaFirstTokenSlow",
      logarithmic: true,
      lines: [["red", 20]],
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
  const seconds = windowRate(`${metric}_sum`, BY_MODEL);
  return { expr: whole === undefined ? seconds : quotient(seconds, whole), legend };
}

const ANSWERS_WITH_DURATIONS = windowRate("ollama_load_duration_seconds_count", BY_MODEL);

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
      unit: "suffix: s/s",
      stacking: "percent",
      colors: PHASE_COLORS,
    }),
    graph({
      title: "Generation speed per request",
      description: "Tokens per second as one user sees them. p5 below 10: people read faster than the model writes.",
      queries: quantiles("ollama_tokens_per_second", BY_MODEL, [0.5, 0.95]).concat(
        quantiles("ollama_tokens_per_second", BY_MODEL, [0.05]),
      ),
      unit: TOKENS_PER_SECOND,
    }),
    graph({
      title: "Load duration",
      description:
        "Time until a runner was ready: queueing and loading. p50 is a warm model and should be well below a second; p99 is a cold start.",
      queries: quantiles("ollama_load_duration_seconds", BY_MODEL),
      unit: "s",
      width: 12,
      logarithmic: true,
    }),
    graph({
      title: "Slot wait",
      description:
        "Time a request waited for a free slot of a loaded model. p95 above a second: raise OLLAMA_NUM_PARALLEL, or add a host.",
      queries: quantiles("ollama_wait_duration_seconds", BY_MODEL),
      unit: "s",
      width: 12,
      logarithmic: true,
    }),
  ],
};

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
        { expr: inRange("ollama_tokens_processed_total", BY_MODEL, "model"), legend: "Prompt tokens" },
        { expr: inRange("ollama_tokens_generated_total", BY_MODEL, "model"), legend: "Generated tokens" },
        {
          expr: quotient(
            inRange("ollama_tokens_cached_total", BY_MODEL, "model"),
            inRange("ollama_tokens_processed_total", BY_MODEL, "model"),
          ),
          legend: "Cache hits",
        },
        { expr: inRange("ollama_model_loads_total", BY_MODEL, "model"), legend: "Loads" },
      ],
      unit: "short",
      height: 9,
      columns: [
        {
          name: "Model",
          label: "model",
          link:
            "/d/ollama-exporter?${__url_time_range}&${job:queryparam}&${instance:queryparam}&var-model=${__data.fields.Model}",
        },
        { name: "Requests" },
        { name: "Failed", unit: "percentunit", steps: [["transparent", -Infinity], ["orange", 0.01], ["red", 0.05]] },
        { name: "First token p95", unit: "s", steps: [["transparent", -Infinity], ["orange", 5], ["red", 20]] },
        { name: "Duration p50", unit: "s" },
        { name: "Duration p95", unit: "s" },
        { name: "Tokens/s p50", unit: TOKENS_PER_SECOND },
        { name: "Prompt tokens" },
        { name: "Generated tokens" },
        { name: "Cache hits", unit: "percentunit" },
        { name: "Loads" },
      ],
    }),
  ],
};

/** Sections on traffic, top to bottom. */
export const TRAFFIC_SECTIONS: readonly Section[] = [glance, latency, time, models];
