/**
 * What the dashboard shows: prompts and caches, models in memory, answers, HTTP, and the exporter itself.
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

const prompts: Section = {
  title: "Prompts and their cache",
  panels: [
    graph({
      title: "Prompt cache hits",
      description:
        "Share of prompt tokens that were served from the cache. Chats with a long history should be high; a fall means that conversations push each other out, or that clients change the beginning of their prompts. Only where the server reports it (Ollama 0.33.3 and newer).",
      queries: [{ expr: `${cached} / (${processed} > 0)`, legend: "{{model}}" }],
      unit: "percentunit",
      max: 1,
    }),
    graph({
      title: "Prefill speed",
      description:
        "Prompt tokens that had to be evaluated (cached ones left out) per second of evaluation. A fall means slower hardware or a model partly on the CPU. Where the server does not report cached tokens it flatters.",
      queries: [{ expr: `(${tokensOfRequest}) / (${secondsOfRequest})`, legend: "{{model}}" }],
      unit: "short",
    }),
    graph({
      title: "Prompt evaluation",
      description:
        "Time for the part of the prompt that was not cached. Long prompts after a cache miss are the usual reason for late first tokens.",
      queries: quantiles("ollama_prompt_eval_duration_seconds", BY_MODEL),
      unit: "s",
      logarithmic: true,
    }),
    graph({
      title: "Prompt length",
      description:
        "Tokens of a prompt. At the loaded context (table below) prompts are cut: the model forgets their beginning.",
      queries: quantiles("ollama_request_prompt_tokens", BY_MODEL),
      unit: "short",
      logarithmic: true,
    }),
    graph({
      title: "Answer length",
      description:
        "Tokens of an answer, thinking included. Endless answers (p99 at the limit) point to a model that repeats itself.",
      queries: quantiles("ollama_request_generated_tokens", BY_MODEL),
      unit: "short",
      logarithmic: true,
    }),
    graph({
      title: "Generation",
      description: "Time to generate an answer, without waiting, loading and the prompt.",
      queries: quantiles("ollama_eval_duration_seconds", BY_MODEL),
      unit: "s",
      logarithmic: true,
    }),
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
        "What Ollama keeps in memory now. On the GPU under 100 %: the rest runs on the CPU and slows every token. Unloads: when it goes if nobody asks (centuries ahead: never; in the past: busy, or about to go).",
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
      description: "Models that come and go in turn push each other out: see the cold starts above.",
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
        "Below 100 % a model does not fit beside the others; at 0 % on a host with a GPU, Ollama has lost it.",
      queries: [{ expr: GPU_SHARE, legend: "{{model}} {{instance}}" }],
      unit: "percentunit",
      max: 1,
    }),
    graph({
      title: "Models loaded and installed",
      description: "Loaded ones fall to 0 when nobody asks for longer than keep_alive.",
      queries: [
        { expr: `sum(ollama_loaded_models{${BY_INSTANCE}})`, legend: "loaded" },
        { expr: `sum(ollama_installed_models{${BY_INSTANCE}})`, legend: "installed" },
      ],
      unit: "short",
    }),
    table({
      title: "Installed models",
      description: "Size on disk. Models share layers: the sum says more than the disk holds.",
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
  title: "Answers",
  panels: [
    graph({
      title: "Why answers end",
      description:
        "stop and tool_calls are as it should be. length: cut off by a limit, users see half an answer. load and unload are no answers.",
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
      description:
        "Which dialects clients speak. One that fades after an update of a client points to a broken integration.",
      queries: [{ expr: rate("ollama_request_outcomes_total", BY_API, "api"), legend: "{{api}}" }],
      unit: "reqps",
      stacking: "percent",
    }),
    graph({
      title: "Tool calls",
      description:
        "Tool calls in answers, by model. None where tools are offered: the model or its template does not support them.",
      queries: [{ expr: rate("ollama_tool_calls_total", BY_API, "model"), legend: "{{model}}" }],
      unit: "short",
    }),
    graph({
      title: "Answers without token counts",
      description:
        "Complete answers that lack the counts their API should give: the token panels are too low by them. Streams of openai_*: set OPENAI_STREAM_USAGE=true.",
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
      description:
        "Everything that passes the proxy, measured as inference or not. other: paths that are not Ollama's.",
      queries: [{ expr: rate("ollama_http_requests_total", BY_INSTANCE, "route"), legend: "{{route}}" }],
      unit: "reqps",
      stacking: "normal",
    }),
    graph({
      title: "Requests by status",
      description:
        "404: a model that is not installed, or a wrong path. 403: Ollama or the browser guard refused the Host or Origin. 502: Ollama was away. 503: its queue was full. 499: the client left.",
      queries: [{ expr: rate("ollama_http_requests_total", BY_INSTANCE, "code"), legend: "{{code}}" }],
      unit: "reqps",
      stacking: "normal",
    }),
    graph({
      title: "Duration by route, p95",
      description: "Lists and versions take milliseconds. Seconds there: Ollama itself is short of CPU or disk.",
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
      title: "Bytes",
      description: "Bodies from clients (in) and to them (out). A flood in is images, or a model that is uploaded.",
      queries: [
        { expr: rate("ollama_http_request_bytes_total", BY_INSTANCE), legend: "in" },
        { expr: rate("ollama_http_response_bytes_total", BY_INSTANCE), legend: "out" },
      ],
      unit: "Bps",
    }),
    graph({
      title: "Pulls, pushes and creations",
      description:
        "Transfers that ended, in the last hour. Other than ok: registry or network trouble, a full disk, or somebody gave up.",
      queries: [{
        expr: `sum by (operation, outcome) (increase(ollama_transfers_total{${BY_INSTANCE}}[1h])) > 0`,
        legend: "{{operation}} {{outcome}}",
      }],
      unit: "short",
      stacking: "normal",
    }),
    graph({
      title: "Transferred",
      description: "Bytes per second of pulls, pushes and creations, counted when they end.",
      queries: [{ expr: rate("ollama_transfer_bytes_total", BY_INSTANCE, "operation"), legend: "{{operation}}" }],
      unit: "Bps",
    }),
  ],
};

const exporter: Section = {
  title: "The exporter",
  panels: [
    graph({
      title: "Probes",
      description: "1: Ollama said how it is. 0 for ps or tags while version is 1: metrics of models are missing.",
      queries: [{
        expr: `min by (instance, probe) (ollama_exporter_probe_success{${BY_INSTANCE}})`,
        legend: "{{probe}} {{instance}}",
      }],
      unit: "short",
      max: 1,
    }),
    graph({
      title: "Duration of probes",
      description: "How long Ollama took to answer. Near PROBE_TIMEOUT: it is short of CPU, or busy loading.",
      queries: [{
        expr: `max by (instance, probe) (ollama_exporter_probe_duration_seconds{${BY_INSTANCE}})`,
        legend: "{{probe}} {{instance}}",
      }],
      unit: "s",
    }),
    graph({
      title: "Trouble",
      description:
        "Connections to Ollama that failed, answers that could not be read, errors in the exporter's own code. All should be 0; clients are harmed only by the first.",
      queries: [
        { expr: rate("ollama_exporter_upstream_errors_total", BY_INSTANCE, "reason"), legend: "upstream: {{reason}}" },
        { expr: rate("ollama_exporter_parse_errors_total", BY_INSTANCE, "api"), legend: "unread: {{api}}" },
        { expr: rate("ollama_exporter_internal_errors_total", BY_INSTANCE), legend: "internal" },
      ],
      unit: "short",
    }),
    graph({
      title: "CPU",
      description:
        "Cores that the exporter uses. It runs on one: near 1 it slows streams down, put a second one beside it.",
      queries: [{ expr: rate("process_cpu_seconds_total", BY_INSTANCE, "instance"), legend: "{{instance}}" }],
      unit: "short",
    }),
    graph({
      title: "Memory",
      description:
        "Grows with open streams, and falls again. A steady rise over days without more traffic is a leak: please report it.",
      queries: [{ expr: `max by (instance) (process_resident_memory_bytes{${BY_INSTANCE}})`, legend: "{{instance}}" }],
      unit: "bytes",
    }),
    table({
      title: "Versions",
      description: "What runs where, and for how long the exporter has been up.",
      queries: [
        {
          expr: `max by (instance, version, deno, os, arch) (ollama_exporter_build_info{${BY_INSTANCE}})`,
          legend: "Exporter",
        },
        {
          expr:
            `max by (instance, ollama) (label_replace(ollama_version_info{${BY_INSTANCE}}, "ollama", "$1", "version", "(.*)"))`,
          legend: "Ollama is",
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

/** The sections about the state of things, from top to bottom. */
export const STATE_SECTIONS: readonly Section[] = [prompts, inMemory, answers, http, exporter];
