/**
 * Dashboard sections on prompts and their context, loaded models, and why they were loaded.
 *
 * @module
 */

import { graph, heatmap, type Section, table } from "./panels.ts";
import {
  buckets,
  BY_API,
  BY_INSTANCE,
  BY_MODEL,
  inRange,
  quantiles,
  quotient,
  share,
  TOKENS_PER_SECOND,
  windowRate,
} from "./queries.ts";

const GPU_SHARE =
  `max by (instance, model) (ollama_loaded_model_vram_bytes{${BY_MODEL}}) / (max by (instance, model) (ollama_loaded_model_size_bytes{${BY_MODEL}}) > 0)`;

const cached = windowRate("ollama_tokens_cached_total", BY_MODEL, "model");
const processed = windowRate("ollama_tokens_processed_total", BY_MODEL, "model");
const evaluated = `(${processed} - (${cached} or 0 * ${processed}))`;
const tokensOfRequest = quotient(evaluated, windowRate("ollama_request_prompt_tokens_count", BY_MODEL, "model"));
const secondsOfRequest = quotient(
  windowRate("ollama_prompt_eval_duration_seconds_sum", BY_MODEL, "model"),
  windowRate("ollama_prompt_eval_duration_seconds_count", BY_MODEL, "model"),
);

const prompts: Section = {
  title: "Context and prompts",
  panels: [
    graph({
      title: "Prompts beyond the context",
      description:
        "Prompts per hour that did not fit into the context. truncated: Ollama left out text after the first few tokens and answered with status 200. rejected: it answered 400. At least: neither messages that /api/chat drops nor cut inputs of /api/embed can be seen.",
      queries: [{
        expr: `3600 * ${windowRate("ollama_prompt_overflows_total", BY_API, "model, kind")}`,
        legend: "{{model}} {{kind}}",
      }],
      unit: "suffix: /h",
      alert: "OllamaPromptsTruncated",
      stacking: "normal",
    }),
    graph({
      title: "Context used",
      description:
        "Prompt and generated tokens of a request as a share of the context. At 1 the context was full or the prompt was cut: raise num_ctx or OLLAMA_CONTEXT_LENGTH, or shorten prompts. Always far below 1: a smaller context saves memory.",
      queries: quantiles("ollama_context_used_ratio", BY_MODEL),
      unit: "percentunit",
      alert: "OllamaPromptsTruncated",
      max: 1,
      lines: [["orange", 0.9]],
    }),
    heatmap({
      title: "Context used, all requests",
      description: "A band at the top is requests that fill their context, which a quantile hides.",
      queries: buckets("ollama_context_used_ratio", BY_MODEL),
      unit: "percentunit",
    }),
    graph({
      title: "Prompt cache hits",
      description:
        "Share of prompt tokens served from the cache. High for chats with a long history; a drop means that conversations evict each other, or that clients change the beginning of their prompts. Requires Ollama 0.33.3 or newer.",
      queries: [{ expr: quotient(cached, processed), legend: "{{model}}" }],
      unit: "percentunit",
      max: 1,
    }),
    graph({
      title: "Prefill speed",
      description:
        "Evaluated prompt tokens (excluding cached ones) per second of evaluation. A drop means slower hardware or a model partly on the CPU. Too high if the server does not report cached tokens.",
      queries: [{ expr: `(${tokensOfRequest}) / (${secondsOfRequest})`, legend: "{{model}}" }],
      unit: TOKENS_PER_SECOND,
    }),
    graph({
      title: "Prompt evaluation duration",
      description:
        "Time to evaluate the uncached part of the prompt. Long prompts after a cache miss are the usual cause of slow first tokens.",
      queries: quantiles("ollama_prompt_eval_duration_seconds", BY_MODEL),
      unit: "s",
      logarithmic: true,
    }),
    graph({
      title: "Prompt length",
      description: "Tokens per prompt. Compare with the context of the loaded model.",
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
      title: "Generation duration",
      description: "Time to generate a response, excluding waiting, loading and prompt evaluation.",
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
      description: 'Models that alternate evict each other: see "Loads by model".',
      queries: [{
        expr: `sum by (instance, model) (ollama_loaded_model_vram_bytes{${BY_MODEL}})`,
        legend: "{{model}} {{instance}}",
      }],
      unit: "bytes",
      alert: "OllamaVramNearlyFull",
      stacking: "normal",
    }),
    graph({
      title: "Share on the GPU",
      description:
        "Below 100 % a model does not fit along with the others; at 0 % on a host with a GPU, Ollama has lost the GPU.",
      queries: [{ expr: GPU_SHARE, legend: "{{model}} {{instance}}" }],
      unit: "percentunit",
      alert: "OllamaModelPartlyOnCpu",
      max: 1,
      lines: [["orange", 0.95]],
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

const loads: Section = {
  title: "Model loads",
  panels: [
    graph({
      title: "Loads by cause",
      description:
        "Loads of a second or more, per hour. cold: the model was not in memory. context_changed: it was, with another num_ctx; make all clients of a model use the same. other: evicted by other models, or queued behind their loads.",
      queries: [{
        expr: `3600 * ${windowRate("ollama_model_loads_total", BY_MODEL, "cause")}`,
        legend: "{{cause}}",
      }],
      unit: "suffix: /h",
      alert: "OllamaModelThrash",
      stacking: "normal",
      colors: { cold: "blue", context_changed: "red", other: "orange" },
    }),
    graph({
      title: "Loads by model",
      description:
        "Loads of a second or more, per hour. Steady traffic should have none. Models that take turns evict each other.",
      queries: [{
        expr: `3600 * ${windowRate("ollama_model_loads_total", BY_MODEL, "model")}`,
        legend: "{{model}}",
      }],
      unit: "suffix: /h",
      alert: "OllamaModelThrash",
      stacking: "normal",
    }),
    graph({
      title: "Share of requests that waited for a load",
      description: "Responses whose model took more than a second to become ready.",
      queries: [{
        expr: share(
          `(${windowRate("ollama_load_duration_seconds_count", BY_MODEL)} - ${
            windowRate("ollama_load_duration_seconds_bucket", `${BY_MODEL}, le=~"1|1\\\\.0"`)
          })`,
          windowRate("ollama_load_duration_seconds_count", BY_MODEL),
        ),
        legend: "waited",
      }],
      unit: "percentunit",
      alert: "OllamaModelThrash",
    }),
    graph({
      title: "Parallel streams",
      description:
        "Highest number of streams past their first byte at once in the last minute. If it stays at 1 while requests are waiting, Ollama has reduced OLLAMA_NUM_PARALLEL.",
      queries: [{ expr: `max by (model) (ollama_requests_generating_max{${BY_MODEL}})`, legend: "{{model}}" }],
      unit: "short",
      alert: "OllamaRequestsWaiting",
    }),
    table({
      title: "Loads by model and cause",
      description: "Loads of a second or more within the selected time range.",
      queries: [{ expr: inRange("ollama_model_loads_total", BY_MODEL, "model, cause"), legend: "Loads" }],
      unit: "short",
      width: 16,
      columns: [
        { name: "Model", label: "model" },
        { name: "Cause", label: "cause" },
        { name: "Loads" },
      ],
    }),
  ],
};

/** Sections on prompts and models, top to bottom. */
export const MODEL_SECTIONS: readonly Section[] = [prompts, inMemory, loads];
