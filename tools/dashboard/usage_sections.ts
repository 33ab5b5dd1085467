/**
 * Dashboard sections on responses, clients, abandoned work, service levels, and energy.
 *
 * @module
 */

import { graph, type Section, table } from "./panels.ts";
import { BY_API, BY_INSTANCE, FAILED, inRange, rate, share, TOKENS_PER_SECOND, windowRate } from "./queries.ts";

const answers: Section = {
  title: "Responses",
  panels: [
    graph({
      title: "Response rate by finish reason",
      description:
        "stop and tool_calls are normal. length: cut off by a token limit, users see a partial response. load and unload generate nothing.",
      queries: [{ expr: rate("ollama_finish_reasons_total", BY_API, "reason"), legend: "{{reason}}" }],
      unit: "reqps",
      alert: "OllamaAnswersTruncated",
      stacking: "normal",
      colors: {
        stop: "green",
        length: "red",
        tool_calls: "blue",
        load: "purple",
        unload: "dark-purple",
        other: "yellow",
      },
    }),
    graph({
      title: "Share of requests by API",
      description: "APIs that clients use. One that disappears after a client update points to a broken integration.",
      queries: [{ expr: rate("ollama_request_outcomes_total", BY_API, "api"), legend: "{{api}}" }],
      unit: "reqps",
      stacking: "percent",
    }),
    graph({
      title: "Tool call rate",
      description:
        "Tool calls in responses per second, by model. None although tools are offered: the model or its template does not support them.",
      queries: [{ expr: rate("ollama_tool_calls_total", BY_API, "model"), legend: "{{model}}" }],
      unit: "suffix: calls/s",
    }),
    graph({
      title: "Rate of responses without token counts",
      description:
        "Complete responses that lack the token counts of their API: the token panels are too low by these. Streams of openai_*: set OPENAI_STREAM_USAGE=true.",
      queries: [{ expr: rate("ollama_usage_missing_total", BY_API, "api"), legend: "{{api}}" }],
      unit: "reqps",
      alert: "OllamaUsageMissing",
    }),
  ],
};

const clients: Section = {
  title: "Clients (CLIENT_LABEL)",
  panels: [
    graph({
      title: "Request rate by client",
      description: "Who uses Ollama. Empty without CLIENT_LABEL. other: clients beyond CLIENT_LABEL_LIMIT.",
      queries: [{ expr: windowRate("ollama_client_requests_total", BY_INSTANCE, "client"), legend: "{{client}}" }],
      unit: "reqps",
      stacking: "normal",
    }),
    graph({
      title: "Share of requests that failed, by client",
      description:
        "Requests that did not end ok, client errors and disconnects included: a client with a wrong model name, or with a timeout shorter than responses take.",
      queries: [{
        expr: share(
          windowRate("ollama_client_requests_total", `${BY_INSTANCE}, outcome!="ok"`, "client"),
          windowRate("ollama_client_requests_total", BY_INSTANCE, "client"),
        ),
        legend: "{{client}}",
      }],
      unit: "percentunit",
    }),
    graph({
      title: "Token rate by client",
      description: "Prompt and output tokens per second: which client takes the hardware's time.",
      queries: [{
        expr: windowRate("ollama_client_tokens_total", BY_INSTANCE, "client, direction"),
        legend: "{{client}} {{direction}}",
      }],
      unit: TOKENS_PER_SECOND,
      stacking: "normal",
    }),
    table({
      title: "Clients",
      description: "Clients within the selected time range.",
      queries: [
        { expr: inRange("ollama_client_requests_total", BY_INSTANCE, "client"), legend: "Requests" },
        {
          expr: share(
            inRange("ollama_client_requests_total", `${BY_INSTANCE}, ${FAILED}`, "client"),
            inRange("ollama_client_requests_total", BY_INSTANCE, "client"),
          ),
          legend: "Failed",
        },
        {
          expr: inRange("ollama_client_tokens_total", `${BY_INSTANCE}, direction="prompt"`, "client"),
          legend: "Prompt tokens",
        },
        {
          expr: inRange("ollama_client_tokens_total", `${BY_INSTANCE}, direction="output"`, "client"),
          legend: "Output tokens",
        },
      ],
      unit: "short",
      columns: [
        { name: "Client", label: "client" },
        { name: "Requests" },
        { name: "Failed", unit: "percentunit" },
        { name: "Prompt tokens" },
        { name: "Output tokens" },
      ],
    }),
  ],
};

const abandoned: Section = {
  title: "Abandoned work",
  panels: [
    graph({
      title: "Abandoned requests",
      description: "Requests whose client disconnected before the end, per second: users or timeouts give up.",
      queries: [{
        expr: windowRate("ollama_request_outcomes_total", `${BY_API}, outcome="client_closed"`, "model"),
        legend: "{{model}}",
      }],
      unit: "reqps",
      stacking: "normal",
    }),
    graph({
      title: "Abandoned output",
      description:
        "Messages with output that went to clients which left before the end, about one per token. They are in no token count.",
      queries: [{
        expr: windowRate("ollama_abandoned_output_messages_total", BY_API, "model"),
        legend: "{{model}}",
      }],
      unit: "suffix: messages/s",
      stacking: "normal",
    }),
    graph({
      title: "Time spent on abandoned streams",
      description:
        "Seconds of generation per second for clients that left before the end. 1 is a slot that works for nobody.",
      queries: [{ expr: windowRate("ollama_abandoned_seconds_total", BY_API, "model"), legend: "{{model}}" }],
      unit: "suffix: s/s",
      stacking: "normal",
    }),
  ],
};

const within = windowRate("ollama_requests_within_slo_total", BY_API, "model");
const eligible = windowRate("ollama_requests_slo_eligible_total", BY_API, "model");

const slo: Section = {
  title: "Service level (SLO_FIRST_TOKEN, SLO_PER_TOKEN)",
  panels: [
    graph({
      title: "Streams within the SLO",
      description:
        "Share of streams that met SLO_FIRST_TOKEN and SLO_PER_TOKEN; failures did not. Empty without these settings.",
      queries: [{ expr: share(within, eligible), legend: "{{model}}" }],
      unit: "percentunit",
      max: 1,
    }),
    graph({
      title: "Streams that missed the SLO",
      description: "Streams per second that were too slow or failed.",
      queries: [{ expr: `${eligible} - (${within} or 0 * ${eligible})`, legend: "{{model}}" }],
      unit: "reqps",
      stacking: "normal",
    }),
    graph({
      title: "Streams within the SLO, by API",
      description: "APIs differ by what their clients ask for: agents send long prompts, completions short ones.",
      queries: [{
        expr: share(
          windowRate("ollama_requests_within_slo_total", BY_API, "api"),
          windowRate("ollama_requests_slo_eligible_total", BY_API, "api"),
        ),
        legend: "{{api}}",
      }],
      unit: "percentunit",
      max: 1,
    }),
  ],
};

const energy: Section = {
  title: "Energy and cost (energy.rules.yml)",
  panels: [
    graph({
      title: "Power",
      description:
        "Power of GPUs and CPUs while requests are in flight (busy) and while none is (idle). Empty without dcgm_exporter or node_exporter on Ollama's host; see energy.rules.yml.",
      queries: [
        { expr: "host:ollama_busy_power:watts", legend: "{{host}} busy" },
        { expr: "host:ollama_idle_power:watts", legend: "{{host}} idle" },
      ],
      unit: "watt",
      stacking: "normal",
    }),
    graph({
      title: "Energy per generated token",
      description:
        "Energy of the last hour by its generated tokens: busy counts only the time with requests in flight, total includes idle power. Total far above busy: the host is idle most of the time.",
      queries: [
        { expr: "host:ollama_busy_energy_per_token:joules_1h", legend: "{{host}} busy" },
        { expr: "host:ollama_energy_per_token:joules_1h", legend: "{{host}} total" },
      ],
      unit: "joule",
    }),
    graph({
      title: "Idle share of energy",
      description: "Share of the last hour's energy that was used while no request was in flight.",
      queries: [{ expr: "host:ollama_idle_energy:ratio_1h", legend: "{{host}}" }],
      unit: "percentunit",
      max: 1,
    }),
    graph({
      title: "Energy cost per million generated tokens",
      description:
        "Idle power included, in the currency of ollama:energy_price:per_kwh in energy.rules.yml, where the price is to be set.",
      queries: [{ expr: "host:ollama_cost_per_million_tokens:price_1h", legend: "{{host}}" }],
      unit: "short",
    }),
    graph({
      title: "Energy cost per day",
      description: "At the average power of the last hour.",
      queries: [{ expr: "host:ollama_cost_per_day:price_1h", legend: "{{host}}" }],
      unit: "short",
      stacking: "normal",
    }),
  ],
};

/** Sections on the use of Ollama, top to bottom. */
export const USAGE_SECTIONS: readonly Section[] = [answers, clients, abandoned, slo, energy];
