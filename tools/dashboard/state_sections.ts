/**
 * Dashboard sections on prompts and their cache, loaded models, responses, HTTP, and the exporter itself.
 *
 * @module
 */

import { graph, type Section, table } from "./panels.ts";
import { BY_API, BY_INSTANCE, BY_MODEL, quantiles, rate } from "./sections.ts";

const GPU_SHARE =
  `max by (instance, model) (ollama_loaded_model_vram_bytes{${BY_MODEL}}) / (max by (instance, model) (ollama_loaded_model_size_bytes{${BY_MODEL}}) > 0)`;

const cached = rate("ollama_tokens_cached_total", BY_MODEL, "model");
const processed = rate("ollama_tokens_processed_total", BY_MODEL, "model");
const evaluated = `(${processed} - (${cached} or 0 * ${processed}))`;
const tokensOfRequest = `${evaluated} / (${rate("ollama_request_prompt_tokens_count", BY_MODEL, "model")} > 0)`;
const secondsOfRequest = `${rate("ollama_prompt_eval_duration_seconds_sum", BY_MODEL, "model")} / (${
  rate("ollama_prompt_eval_duration_seconds_count", BY_MODEL, "model")
} > 0)`;

const context = [
  graph({
    title: "Context use",
    description:
      "Prompt and generated tokens by the context length. Near 100 %: chats are about to lose messages; raise num_ctx or OLLAMA_CONTEXT_LENGTH. Far below: a smaller context saves GPU memory.",
    queries: quantiles("ollama_context_used_ratio", BY_MODEL),
    unit: "percentunit",
  }),
  graph({
    title: "Prompts that did not fit",
    description:
      "Prompts that exceed the context, at least: truncated ones lose text after their beginning although the response is successful, rejected ones get status 400. See the OllamaPromptsOverflow alert.",
    queries: [{ expr: rate("ollama_prompt_overflows_total", BY_API, "model, kind"), legend: "{{model}} {{kind}}" }],
    unit: "reqps",
  }),
];

const prompts: Section = {
  title: "Prompts and prompt cache",
  panels: [
    graph({
      title: "Prompt cache hits",
      description:
        "Share of prompt tokens served from the cache. High for chats with a long history; a drop means that conversations evict each other, or that clients change the beginning of their prompts. Requires Ollama 0.33.3 or newer.",
      queries: [{ expr: `${cached} / (${processed} > 0)`, legend: "{{model}}" }],
      unit: "percentunit",
      max: 1,
    }),
    graph({
      title: "Prefill speed",
      description:
        "Evaluated prompt tokens (excluding cached ones) per second of evaluation. A drop means slower hardware or a model partly on the CPU. Too high if the server does not report cached tokens.",
      queries: [{ expr: `(${tokensOfRequest}) / (${secondsOfRequest})`, legend: "{{model}}" }],
      unit: "short",
    }),
    graph({
      title: "Prompt evaluation",
      description:
        "Time to evaluate the uncached part of the prompt. Long prompts after a cache miss are the usual cause of slow first tokens.",
      queries: quantiles("ollama_prompt_eval_duration_seconds", BY_MODEL),
      unit: "s",
      logarithmic: true,
    }),
    graph({
      title: "Prompt length",
      description:
        "Tokens per prompt, after Ollama has truncated it. Compare with the context of the loaded models (table below).",
      queries: quantiles("ollama_request_prompt_tokens", BY_MODEL),
      unit: "short",
      logarithmic: true,
    }),
    graph({
      title: "Response length",
      description:
        "Tokens per response, including thinking. Endless responses (p99 at the limit) point to a model that repeats itself.",
      queries: quantiles("ollama_request_generated_tokens", BY_MODEL),
      unit: "short",
      logarithmic: true,
    }),
    graph({
      title: "Generation",
      description: "Time to generate a response, excluding waiting, loading and prompt evaluation.",
      queries: quantiles("ollama_eval_duration_seconds", BY_MODEL),
      unit: "s",
      logarithmic: true,
    }),
    ...context,
  ],
};

const LOADED_COLUMNS = [
  { name: "Instance", label: "instance" },
  { name: "Model", label: "model" },
  { name: "Parameters", label: "parameter_size" },
  { name: "Quantization", label: "quantization_level" },
  { name: "Family", label: "family" },
  { name: "Size", unit: "bytes" },
  { name: "In VRAM", unit: "bytes" },
  {
    name: "On the GPU",
    unit: "percentunit",
    steps: [["orange", -Infinity], ["transparent", 0.95]] as const,
  },
  { name: "Context" },
  { name: "Unloads", unit: "dateTimeFromNow" },
];

const inMemory: Section = {
  title: "Loaded models",
  panels: [
    table({
      title: "Loaded models",
      description:
        "Models in memory. On the GPU below 100 %: the rest runs on the CPU and slows down every token. Unloads: when an idle model is unloaded (centuries ahead: never; in the past: busy, or being unloaded).",
      queries: [
        {
          expr:
            `max by (instance, model, parameter_size, quantization_level, family) (ollama_loaded_model_info{${BY_MODEL}})`,
          legend: "Loaded",
        },
        { expr: `max by (instance, model) (ollama_loaded_model_size_bytes{${BY_MODEL}})`, legend: "Size" },
        { expr: `max by (instance, model) (ollama_loaded_model_vram_bytes{${BY_MODEL}})`, legend: "In VRAM" },
        { expr: GPU_SHARE, legend: "On the GPU" },
        { expr: `max by (instance, model) (ollama_loaded_model_context_tokens{${BY_MODEL}})`, legend: "Context" },
        {
          expr: `1000 * max by (instance, model) (ollama_loaded_model_expiry_timestamp_seconds{${BY_MODEL}})`,
          legend: "Unloads",
        },
      ],
      unit: "short",
      columns: LOADED_COLUMNS,
    }),
    graph({
      title: "GPU memory by model",
      description: "Models that alternate evict each other: see the cold starts above.",
      queries: [{
        expr: `sum by (instance, model) (ollama_loaded_model_vram_bytes{${BY_MODEL}})`,
        legend: "{{model}} {{instance}}",
      }],
      unit: "bytes",
      stacking: "normal",
    }),
    graph({
      title: "Share on the GPU",
      description:
        "Below 100 % a model does not fit along with the others; at 0 % on a host with a GPU, Ollama has lost the GPU.",
      queries: [{ expr: GPU_SHARE, legend: "{{model}} {{instance}}" }],
      unit: "percentunit",
      max: 1,
    }),
    graph({
      title: "Models loaded and installed",
      description: "Loaded models drop to 0 after keep_alive without requests.",
      queries: [
        { expr: `sum(ollama_loaded_models{${BY_INSTANCE}})`, legend: "loaded" },
        { expr: `sum(ollama_installed_models{${BY_INSTANCE}})`, legend: "installed" },
      ],
      unit: "short",
    }),
    table({
      title: "Installed models",
      description: "Size on disk. Models share layers, so the sum overstates disk usage.",
      queries: [{ expr: `max by (instance, model) (ollama_installed_model_size_bytes{${BY_MODEL}})`, legend: "Size" }],
      unit: "short",
      columns: [
        { name: "Instance", label: "instance" },
        { name: "Model", label: "model" },
        { name: "Size", unit: "bytes" },
      ],
    }),
  ],
};

const answers: Section = {
  title: "Responses",
  panels: [
    graph({
      title: "Finish reasons",
      description:
        "stop and tool_calls are normal. length: cut off by a token limit, users see a partial response. load and unload generate nothing.",
      queries: [{ expr: rate("ollama_finish_reasons_total", BY_API, "reason"), legend: "{{reason}}" }],
      unit: "reqps",
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
      title: "APIs in use",
      description: "APIs that clients use. One that disappears after a client update points to a broken integration.",
      queries: [{ expr: rate("ollama_request_outcomes_total", BY_API, "api"), legend: "{{api}}" }],
      unit: "reqps",
      stacking: "percent",
    }),
    graph({
      title: "Tool calls",
      description:
        "Tool calls in responses, by model. None although tools are offered: the model or its template does not support them.",
      queries: [{ expr: rate("ollama_tool_calls_total", BY_API, "model"), legend: "{{model}}" }],
      unit: "short",
    }),
    graph({
      title: "Responses without token counts",
      description:
        "Complete responses that lack the token counts of their API: the token panels are too low by these. Streams of openai_*: set OPENAI_STREAM_USAGE=true.",
      queries: [{ expr: rate("ollama_usage_missing_total", BY_API, "api"), legend: "{{api}}" }],
      unit: "reqps",
    }),
  ],
};

const http: Section = {
  title: "HTTP and transfers",
  panels: [
    graph({
      title: "Requests by route",
      description: "All proxied requests, inference or not. other: paths that Ollama does not have.",
      queries: [{ expr: rate("ollama_http_requests_total", BY_INSTANCE, "route"), legend: "{{route}}" }],
      unit: "reqps",
      stacking: "normal",
    }),
    graph({
      title: "Requests by status",
      description:
        "403: Host or Origin refused by Ollama; what the exporter itself refuses is in ollama_exporter_refused_requests_total. 404: a model that is not installed, or a wrong path. 499: the client disconnected. 502: Ollama was unreachable. 503: its queue was full.",
      queries: [{ expr: rate("ollama_http_requests_total", BY_INSTANCE, "code"), legend: "{{code}}" }],
      unit: "reqps",
      stacking: "normal",
    }),
    graph({
      title: "Duration by route, p95",
      description: "Listing models takes milliseconds. If it takes seconds, Ollama is short of CPU or disk bandwidth.",
      queries: [{
        expr: `histogram_quantile(0.95, ${
          rate("ollama_http_request_duration_seconds_bucket", BY_INSTANCE, "route, le")
        })`,
        legend: "{{route}}",
        exemplar: true,
      }],
      unit: "s",
      logarithmic: true,
    }),
    graph({
      title: "Body bytes",
      description: "Request bodies (in) and response bodies (out). A lot in: images, or a model upload.",
      queries: [
        { expr: rate("ollama_http_request_bytes_total", BY_INSTANCE), legend: "in" },
        { expr: rate("ollama_http_response_bytes_total", BY_INSTANCE), legend: "out" },
      ],
      unit: "Bps",
    }),
    graph({
      title: "Pulls, pushes and creates",
      description:
        "Transfers completed in the last hour. Other than ok: registry or network errors, a full disk, or a cancelled transfer.",
      queries: [{
        expr: `sum by (operation, outcome) (increase(ollama_transfers_total{${BY_INSTANCE}}[1h])) > 0`,
        legend: "{{operation}} {{outcome}}",
      }],
      unit: "short",
      stacking: "normal",
    }),
    graph({
      title: "Transfer rate",
      description: "Bytes per second of pulls, pushes and creates, counted on completion.",
      queries: [{ expr: rate("ollama_transfer_bytes_total", BY_INSTANCE, "operation"), legend: "{{operation}}" }],
      unit: "Bps",
    }),
  ],
};

const exporter: Section = {
  title: "Exporter",
  panels: [
    graph({
      title: "Probes",
      description:
        "1 if the last status request succeeded. 0 for ps or tags while version is 1: metrics of models are missing.",
      queries: [{
        expr: `min by (instance, probe) (ollama_exporter_probe_success{${BY_INSTANCE}})`,
        legend: "{{probe}} {{instance}}",
      }],
      unit: "short",
      max: 1,
    }),
    graph({
      title: "Probe duration",
      description: "Time Ollama took to answer. Close to PROBE_TIMEOUT: it is short of CPU, or busy loading a model.",
      queries: [{
        expr: `max by (instance, probe) (ollama_exporter_probe_duration_seconds{${BY_INSTANCE}})`,
        legend: "{{probe}} {{instance}}",
      }],
      unit: "s",
    }),
    graph({
      title: "Errors",
      description:
        "Failed connections to Ollama, refused requests, response messages that could not be parsed, internal errors of the exporter. All should be 0; only the first two affect clients. host_not_allowed: a browser, or on loopback any client, used a name that ALLOWED_HOSTS lacks.",
      queries: [
        { expr: rate("ollama_exporter_upstream_errors_total", BY_INSTANCE, "reason"), legend: "upstream: {{reason}}" },
        { expr: rate("ollama_exporter_refused_requests_total", BY_INSTANCE, "reason"), legend: "refused: {{reason}}" },
        { expr: rate("ollama_exporter_parse_errors_total", BY_INSTANCE, "api"), legend: "parse: {{api}}" },
        { expr: rate("ollama_exporter_internal_errors_total", BY_INSTANCE), legend: "internal" },
      ],
      unit: "short",
    }),
    graph({
      title: "CPU",
      description:
        "CPU cores used by the exporter, which is single-threaded: near 1 it slows down streams; run a second one.",
      queries: [{ expr: rate("process_cpu_seconds_total", BY_INSTANCE, "instance"), legend: "{{instance}}" }],
      unit: "short",
    }),
    graph({
      title: "Memory",
      description:
        "Resident memory. Grows with open streams and falls again. A steady rise over days at constant traffic is a leak: please report it.",
      queries: [{ expr: `max by (instance) (process_resident_memory_bytes{${BY_INSTANCE}})`, legend: "{{instance}}" }],
      unit: "bytes",
    }),
    table({
      title: "Versions",
      description: "Versions of exporter and Ollama by instance, and the exporter's start.",
      queries: [
        {
          expr: `max by (instance, version, deno, os, arch) (ollama_exporter_build_info{${BY_INSTANCE}})`,
          legend: "Exporter",
        },
        {
          expr:
            `max by (instance, ollama) (label_replace(ollama_version_info{${BY_INSTANCE}}, "ollama", "$1", "version", "(.*)"))`,
          legend: "Ollama version",
        },
        { expr: `1000 * max by (instance) (process_start_time_seconds{${BY_INSTANCE}})`, legend: "Started" },
      ],
      unit: "short",
      width: 8,
      columns: [
        { name: "Instance", label: "instance" },
        { name: "Version", label: "version" },
        { name: "Deno", label: "deno" },
        { name: "System", label: "os" },
        { name: "Architecture", label: "arch" },
        { name: "Ollama", label: "ollama" },
        { name: "Started", unit: "dateTimeFromNow" },
      ],
    }),
  ],
};

/** Sections on the server's and the exporter's state, top to bottom. */
export const STATE_SECTIONS: readonly Section[] = [prompts, inMemory, answers, http, exporter];
