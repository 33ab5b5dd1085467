/**
 * Dashboard sections on HTTP, transfers, and the exporter itself.
 *
 * @module
 */

import { graph, type Section, stat, table } from "./panels.ts";
import { BY_INSTANCE, quantiles, rate, windowRate } from "./queries.ts";

const http: Section = {
  title: "HTTP and transfers",
  panels: [
    graph({
      title: "Request rate by route",
      description: "All proxied requests, inference or not. other: paths that Ollama does not have.",
      queries: [{ expr: rate("ollama_http_requests_total", BY_INSTANCE, "route"), legend: "{{route}}" }],
      unit: "reqps",
      stacking: "normal",
    }),
    graph({
      title: "Request rate by status",
      description:
        '403: Host or Origin refused by Ollama; what the exporter itself refuses is in the row "Exporter". 404: a model that is not installed, or a wrong path. 499: the client disconnected. 502: Ollama was unreachable. 503: its queue was full.',
      queries: [{ expr: rate("ollama_http_requests_total", BY_INSTANCE, "code"), legend: "{{code}}" }],
      unit: "reqps",
      stacking: "normal",
    }),
    graph({
      title: "Duration by route, p95",
      description: "Listing models takes milliseconds. If it takes seconds, Ollama is short of CPU or disk bandwidth.",
      queries: [{
        expr: `histogram_quantile(0.95, ${
          windowRate("ollama_http_request_duration_seconds_bucket", BY_INSTANCE, "route, le")
        })`,
        legend: "{{route}}",
        exemplar: true,
      }],
      unit: "s",
      logarithmic: true,
    }),
    graph({
      title: "Body transfer rate",
      description:
        "Bytes per second of request bodies (in) and response bodies (out). A lot in: images, or a model upload.",
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
    stat({
      title: "Uptime",
      description: "Time since the start of the exporter that was started last. Short again and again: it restarts.",
      queries: [{ expr: `time() - max(process_start_time_seconds{${BY_INSTANCE}})`, legend: "uptime" }],
      unit: "s",
      width: 4,
      alert: "OllamaExporterRestarting",
      steps: [["orange", -Infinity], ["green", 600]],
    }),
    stat({
      title: "Configuration",
      description:
        "Whether the last reload of the web config, headers and client keys files succeeded. No value without these files.",
      queries: [{ expr: `min(ollama_exporter_config_last_reload_successful{${BY_INSTANCE}})`, legend: "reload" }],
      unit: "short",
      width: 4,
      alert: "OllamaExporterConfigReloadFailed",
      steps: [["red", -Infinity], ["green", 1]],
      words: { "0": { text: "Reload failed", color: "red" }, "1": { text: "Current", color: "green" } },
    }),
    stat({
      title: "Last reload",
      description: "Time since the configuration files were last loaded.",
      queries: [{
        expr: `time() - max(ollama_exporter_config_last_reload_success_timestamp_seconds{${BY_INSTANCE}})`,
        legend: "last reload",
      }],
      unit: "s",
      width: 4,
      steps: [["blue", -Infinity]],
    }),
    stat({
      title: "Internal errors",
      description: "Internal errors of the exporter in the last 24 hours. Any is a bug: please report it.",
      queries: [{
        expr: `sum(increase(ollama_exporter_internal_errors_total{${BY_INSTANCE}}[24h]))`,
        legend: "internal errors",
      }],
      unit: "short",
      width: 4,
      alert: "OllamaExporterInternalErrors",
      steps: [["green", -Infinity], ["red", 0.5]],
    }),
    stat({
      title: "Refused requests",
      description: "Requests that the exporter refused in the last 24 hours.",
      queries: [{
        expr: `sum(increase(ollama_exporter_refused_requests_total{${BY_INSTANCE}}[24h]))`,
        legend: "refused",
      }],
      unit: "short",
      width: 4,
      alert: "OllamaExporterRefusesRequests",
      steps: [["green", -Infinity], ["orange", 0.5]],
    }),
    stat({
      title: "Requests without a model label",
      description: "Requests of the last 24 hours whose model is labeled other, since MODEL_LABEL_LIMIT is reached.",
      queries: [{
        expr: `sum(increase(ollama_requests_total{${BY_INSTANCE}, model="other"}[24h])) or vector(0)`,
        legend: "other",
      }],
      unit: "short",
      width: 4,
      alert: "OllamaModelLabelLimitReached",
      steps: [["green", -Infinity], ["orange", 0.5]],
    }),
    graph({
      title: "Event-loop lag",
      description:
        "Delay of a timer in the exporter, which is single-threaded: streams are delayed by as much. Above 0.1 s: too much load for one exporter, or the machine is short of CPU.",
      queries: quantiles("ollama_exporter_event_loop_lag_seconds", BY_INSTANCE),
      unit: "s",
      logarithmic: true,
      lines: [["orange", 0.1]],
    }),
    graph({
      title: "CPU",
      description: "CPU cores used by the exporter: near 1 it slows down streams; run a second one.",
      queries: [{ expr: rate("process_cpu_seconds_total", BY_INSTANCE, "instance"), legend: "{{instance}}" }],
      unit: "suffix: cores",
      lines: [["orange", 0.8]],
    }),
    graph({
      title: "Memory",
      description:
        "Resident memory, the JavaScript heap within it, and its used part. Grows with open streams and falls again. A steady rise over days at constant traffic is a leak: please report it.",
      queries: [
        { expr: `max by (instance) (process_resident_memory_bytes{${BY_INSTANCE}})`, legend: "{{instance}} resident" },
        { expr: `max by (instance) (process_heap_bytes{${BY_INSTANCE}})`, legend: "{{instance}} heap" },
        {
          expr: `max by (instance) (ollama_exporter_heap_used_bytes{${BY_INSTANCE}})`,
          legend: "{{instance}} used heap",
        },
      ],
      unit: "bytes",
    }),
    graph({
      title: "Refused requests by reason",
      description:
        "Requests that the exporter refused, per second. host_not_allowed: a browser, or on loopback any client, used a name that ALLOWED_HOSTS lacks.",
      queries: [{
        expr: windowRate("ollama_exporter_refused_requests_total", BY_INSTANCE, "reason"),
        legend: "{{reason}}",
      }],
      unit: "reqps",
      alert: "OllamaExporterRefusesRequests",
      stacking: "normal",
    }),
    graph({
      title: "Errors",
      description:
        "Failed connections to Ollama, response messages that could not be parsed, internal errors, and failed status requests and scrapes, per second. All should be 0; only the first affects clients.",
      queries: [
        {
          expr: windowRate("ollama_exporter_upstream_errors_total", BY_INSTANCE, "reason"),
          legend: "upstream: {{reason}}",
        },
        { expr: windowRate("ollama_exporter_parse_errors_total", BY_INSTANCE, "api"), legend: "parse: {{api}}" },
        { expr: windowRate("ollama_exporter_internal_errors_total", BY_INSTANCE), legend: "internal" },
        { expr: windowRate("ollama_exporter_probe_errors_total", BY_INSTANCE, "probe"), legend: "probe: {{probe}}" },
        { expr: windowRate("ollama_exporter_scrape_errors_total", BY_INSTANCE), legend: "scrape" },
      ],
      unit: "eps",
      alert: "OllamaAnswersUnreadable",
    }),
    graph({
      title: "Probes",
      description:
        "1 if the last status request succeeded. 0 for ps or tags while version is 1: metrics of models are missing.",
      queries: [{
        expr: `min by (instance, probe) (ollama_exporter_probe_success{${BY_INSTANCE}})`,
        legend: "{{probe}} {{instance}}",
      }],
      unit: "short",
      alert: "OllamaExporterProbeFailing",
      max: 1,
    }),
    graph({
      title: "Probe duration",
      description:
        "Time Ollama took to answer. Close to PROBE_TIMEOUT (3 s by default): it is short of CPU, or busy loading a model.",
      queries: [{
        expr: `max by (instance, probe) (ollama_exporter_probe_duration_seconds{${BY_INSTANCE}})`,
        legend: "{{probe}} {{instance}}",
      }],
      unit: "s",
      alert: "OllamaExporterProbeFailing",
      lines: [["orange", 3]],
    }),
    graph({
      title: "Scrapeable exporters",
      description: "Whether Prometheus could scrape each exporter. A line that ends: it is no longer a target.",
      queries: [{
        expr:
          `up{${BY_INSTANCE}} and on (job, instance) last_over_time(ollama_exporter_build_info{${BY_INSTANCE}}[1d])`,
        legend: "{{instance}}",
      }],
      unit: "short",
      alert: "OllamaExporterDown",
      max: 1,
    }),
    table({
      title: "Versions",
      description: "Versions of exporter and Ollama by instance, and the exporter's start.",
      queries: [
        {
          expr: `max by (instance, version, revision, deno, os, arch) (ollama_exporter_build_info{${BY_INSTANCE}})`,
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
        { name: "Revision", label: "revision" },
        { name: "Deno", label: "deno" },
        { name: "System", label: "os" },
        { name: "Architecture", label: "arch" },
        { name: "Ollama", label: "ollama" },
        { name: "Started", unit: "dateTimeFromNow" },
      ],
    }),
  ],
};

/** Sections on HTTP and the exporter, top to bottom. */
export const STATE_SECTIONS: readonly Section[] = [http, exporter];
