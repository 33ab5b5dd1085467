/**
 * Table of all settings: flag, environment variable, default, parser and help text. No other file knows their names.
 *
 * @module
 */

import type { Address } from "../http.ts";
import { type ClientLabel, parseClientLabel } from "./client_label.ts";
import { parseOllamaHost } from "./ollama_host.ts";
import {
  parseAddress,
  parseBoolean,
  parseDuration,
  parseHosts,
  parseInteger,
  parsePositiveDuration,
  parseSubnets,
  type Subnet,
} from "./parse.ts";

/** Log levels in increasing order of severity. */
export const LOG_LEVELS = ["DEBUG", "INFO", "WARN", "ERROR"] as const;
/** A log level. */
export type LogLevel = typeof LOG_LEVELS[number];

/** Log output formats. */
const LOG_FORMATS = ["text", "json"] as const;
/** A log output format. */
export type LogFormat = typeof LOG_FORMATS[number];

/** HTTP server implementations: `Deno.serve` and `node:http`. */
export const WEB_SERVERS = ["deno", "node"] as const;
/** An HTTP server implementation. */
export type WebServer = typeof WEB_SERVERS[number];

/** Parsed values of all settings. */
export interface Config {
  readonly ollamaHost: URL;
  /** Path of a PEM file of CA certificates; `undefined` trusts the built-in ones only. */
  readonly ollamaCaFile: string | undefined;
  /** Path of a file of headers for the exporter's own status requests; `undefined` adds none. */
  readonly ollamaHeadersFile: string | undefined;
  /** Milliseconds, over 0. */
  readonly probeTimeoutMs: number;
  /** `auto`: chosen at start. */
  readonly webServer: WebServer | "auto";
  readonly listenAddress: Address;
  /** Whether a socket passed by systemd is required; if `false`, one that is passed is used nevertheless. */
  readonly systemdSocket: boolean;
  /** Listen address of the admin endpoints; `undefined` serves them on `listenAddress`. */
  readonly metricsListenAddress: Address | undefined;
  readonly metricsPath: string;
  /** Path of the web config file; `undefined` disables TLS and authentication. */
  readonly webConfigFile: string | undefined;
  /** Host names in lower case; `*.example.com` matches every name under `example.com`. */
  readonly allowedHosts: readonly string[];
  /** Reverse proxies whose `X-Forwarded-For` is believed. */
  readonly trustedProxies: readonly Subnet[];
  /** Milliseconds; 0 aborts open requests at once. */
  readonly shutdownTimeoutMs: number;
  readonly openaiStreamUsage: boolean;
  readonly modelLabelLimit: number;
  /** `undefined`: clients are not told apart. */
  readonly clientLabel: ClientLabel | undefined;
  readonly clientLabelLimit: number;
  /** Path of the file of clients' keys; set if `clientLabel` is `api-key`. */
  readonly clientKeysFile: string | undefined;
  /** Milliseconds, over 0; `undefined`: no objective. */
  readonly sloFirstTokenMs: number | undefined;
  /** Milliseconds, over 0; `undefined`: no objective. */
  readonly sloPerTokenMs: number | undefined;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  /** Milliseconds, over 0; `undefined` logs no slow requests. */
  readonly slowRequestMs: number | undefined;
  /** Path of the log config file; `undefined` uses {@linkcode LOG_CONFIG_FILE} if it exists. */
  readonly logConfig: string | undefined;
}

/** Texts of a boolean. */
const BOOLEANS = ["true", "false"] as const;

/** Default log config file, relative to the working directory. */
export const LOG_CONFIG_FILE = "log_config.yaml";

/** Maximum delay of a timer: its milliseconds are a signed 32-bit integer. */
const MAX_TIMER_MS = 2 ** 31 - 1;

const POSITIVE_DURATION = "a duration over 0 and up to `596h`, such as `500ms`, `3s` or `1m30s`";

/** A row of {@linkcode SETTINGS}. */
export interface Setting<T> {
  /** Environment variable. */
  readonly variable: string;
  /** Flag without its dashes; overrides the environment variable. */
  readonly flag: string;
  /** Text parsed if the setting is absent or empty. An empty default means no value. */
  readonly default: string;
  /** Accepted values, for `--help`, the documentation and error messages. */
  readonly accepts: string;
  /** What shells complete: the values that can be listed, or file names; `undefined` if nothing. */
  readonly completes?: readonly string[] | "file";
  /** Description for `--help` and the documentation. */
  readonly help: string;
  /** Returns the value, or `undefined` if the text is invalid. */
  readonly parse: (text: string) => T | undefined;
}

/** Every setting, in the order of `--help` and of the documentation. */
export const SETTINGS: { readonly [Name in keyof Config]-?: Setting<Config[Name]> } = {
  ollamaHost: {
    variable: "OLLAMA_HOST",
    flag: "ollama.host",
    default: "http://localhost:11434",
    accepts:
      "`host`, `host:port` or `https://host/path`, no credentials, a port up to 65535 not reserved for other protocols",
    help: "Base URL of the Ollama server.",
    parse: parseOllamaHost,
  },
  ollamaCaFile: {
    variable: "OLLAMA_CA_FILE",
    flag: "ollama.ca-file",
    default: "",
    accepts: "the path of a PEM file",
    completes: "file",
    help: "CA certificates to trust for an https Ollama URL, in addition to the built-in ones.",
    parse: parsePath,
  },
  ollamaHeadersFile: {
    variable: "OLLAMA_HEADERS_FILE",
    flag: "ollama.headers-file",
    default: "",
    accepts: "the path of a file with lines `Name: value`",
    completes: "file",
    help: "Headers of the exporter's own status requests, such as a token. Clients' requests do not get them.",
    parse: parsePath,
  },
  probeTimeoutMs: {
    variable: "PROBE_TIMEOUT",
    flag: "ollama.probe-timeout",
    default: "3s",
    accepts: POSITIVE_DURATION,
    help: "Timeout of each status request to Ollama (/api/version, /api/ps, /api/tags).",
    parse: (text) => parsePositiveDuration(text, MAX_TIMER_MS),
  },
  listenAddress: {
    variable: "LISTEN_ADDRESS",
    flag: "web.listen-address",
    default: ":8000",
    accepts: "`host:port`, `:port` or `[::]:port`",
    help: "Listen address for Ollama clients; without a host, all interfaces.",
    parse: parseAddress,
  },
  systemdSocket: {
    variable: "SYSTEMD_SOCKET",
    flag: "web.systemd-socket",
    default: "false",
    accepts: "`true` or `false`",
    completes: BOOLEANS,
    help: "Require a socket from systemd. One that is passed is used in place of the listen address in any case.",
    parse: parseBoolean,
  },
  metricsListenAddress: {
    variable: "METRICS_LISTEN_ADDRESS",
    flag: "web.metrics-listen-address",
    default: "",
    accepts: "`host:port`, `:port` or `[::]:port`",
    help: "Separate listen address for the metrics, health and status endpoints.",
    parse: parseAddress,
  },
  metricsPath: {
    variable: "METRICS_PATH",
    flag: "web.telemetry-path",
    default: "/metrics",
    accepts: "a path of letters, digits and `-._~/`, except `/` and paths under `/-/`, `/api/` or `/v1/`",
    help: "Path under which to expose metrics.",
    parse: (text) => /^\/(?!(-|api|v1)\/)[\w.~/-]+$/.test(text) ? text : undefined,
  },
  webServer: {
    variable: "WEB_SERVER",
    flag: "web.server",
    default: "auto",
    accepts: "`auto`, `deno` or `node`",
    completes: ["auto", ...WEB_SERVERS],
    help: "HTTP server: Deno.serve, node:http, or Deno.serve if it passes a check at start.",
    parse: (text) => text === "auto" ? text : WEB_SERVERS.find((server) => server === text),
  },
  webConfigFile: {
    variable: "WEB_CONFIG_FILE",
    flag: "web.config.file",
    default: "",
    accepts: "the path of a file in the exporter-toolkit format",
    completes: "file",
    help: "Web configuration file: TLS, basic authentication and rate limit of the admin endpoints.",
    parse: parsePath,
  },
  allowedHosts: {
    variable: "ALLOWED_HOSTS",
    flag: "web.allowed-hosts",
    default: "",
    accepts: "comma-separated names such as `ollama.example.com,*.example.org`",
    help: "Host names to accept from browsers, on loopback from every client.",
    parse: parseHosts,
  },
  trustedProxies: {
    variable: "TRUSTED_PROXIES",
    flag: "web.trusted-proxies",
    default: "",
    accepts: "comma-separated addresses or CIDR blocks such as `10.0.0.7,fd00::/8`",
    help: "Proxies whose `X-Forwarded-For` is used by `CLIENT_LABEL=address`.",
    parse: parseSubnets,
  },
  shutdownTimeoutMs: {
    variable: "SHUTDOWN_TIMEOUT",
    flag: "web.shutdown-timeout",
    default: "30s",
    accepts: "a duration up to `596h`, such as `0`, `30s` or `5m`",
    help: "Maximum time to wait for open requests after SIGTERM or SIGINT.",
    parse: (text) => parseDuration(text, MAX_TIMER_MS),
  },
  openaiStreamUsage: {
    variable: "OPENAI_STREAM_USAGE",
    flag: "openai.stream-usage",
    default: "true",
    accepts: "`true` or `false`",
    completes: BOOLEANS,
    help: "Request usage (stream_options.include_usage) on OpenAI streams that lack it, and hide it from the client.",
    parse: parseBoolean,
  },
  modelLabelLimit: {
    variable: "MODEL_LABEL_LIMIT",
    flag: "metrics.model-limit",
    default: "200",
    accepts: "an integer from 1 to 10000",
    help: "Maximum number of `model` label values; further models are reported as `other`.",
    parse: (text) => parseInteger(text, 1, 10_000),
  },
  clientLabel: {
    variable: "CLIENT_LABEL",
    flag: "metrics.client-label",
    default: "",
    accepts: "`user-agent`, `address`, `api-key` (for headers with credentials) or `header:Name`",
    completes: ["user-agent", "address", "api-key"],
    help: "Source of the `client` label; without it, no client metrics.",
    parse: parseClientLabel,
  },
  clientLabelLimit: {
    variable: "CLIENT_LABEL_LIMIT",
    flag: "metrics.client-limit",
    default: "50",
    accepts: "an integer from 1 to 10000",
    help: "Maximum number of `client` label values; further clients are reported as `other`.",
    parse: (text) => parseInteger(text, 1, 10_000),
  },
  clientKeysFile: {
    variable: "CLIENT_KEYS_FILE",
    flag: "metrics.client-keys-file",
    default: "",
    accepts: "the path of a file with lines `SHA-256 name`",
    completes: "file",
    help: "Names of clients by their API keys, for `CLIENT_LABEL=api-key`.",
    parse: parsePath,
  },
  sloFirstTokenMs: {
    variable: "SLO_FIRST_TOKEN",
    flag: "slo.first-token",
    default: "",
    accepts: POSITIVE_DURATION,
    help: "Maximum time to first token of a stream within the latency objectives.",
    parse: (text) => parsePositiveDuration(text, MAX_TIMER_MS),
  },
  sloPerTokenMs: {
    variable: "SLO_PER_TOKEN",
    flag: "slo.per-token",
    default: "",
    accepts: POSITIVE_DURATION,
    help: "Maximum time per output token of a stream within the latency objectives.",
    parse: (text) => parsePositiveDuration(text, MAX_TIMER_MS),
  },
  logLevel: {
    variable: "LOG_LEVEL",
    flag: "log.level",
    default: "INFO",
    accepts: "`DEBUG`, `INFO`, `WARN`, `WARNING` or `ERROR`, in any case",
    completes: LOG_LEVELS,
    help: "Minimum log level. DEBUG logs every request.",
    parse: parseLogLevel,
  },
  logFormat: {
    variable: "LOG_FORMAT",
    flag: "log.format",
    default: "text",
    accepts: "`text` (logfmt) or `json`",
    completes: LOG_FORMATS,
    help: "Log output format.",
    parse: (text) => LOG_FORMATS.find((format) => format === text),
  },
  slowRequestMs: {
    variable: "SLOW_REQUEST",
    flag: "log.slow-request",
    default: "",
    accepts: POSITIVE_DURATION,
    help: "Log inference requests that take longer, with the time of each phase.",
    parse: (text) => parsePositiveDuration(text, MAX_TIMER_MS),
  },
  logConfig: {
    variable: "LOG_CONFIG",
    flag: "log.config",
    default: "",
    accepts: "the path of a YAML file",
    completes: "file",
    help: `Log configuration file: level, format and log file. Defaults to \`${LOG_CONFIG_FILE}\` if it exists.`,
    parse: parsePath,
  },
};

/** Whether a flag needs no value: without one it is `true`. */
export function isBooleanFlag(flag: string): boolean {
  return Object.values(SETTINGS).some((setting) => setting.flag === flag && setting.completes === BOOLEANS);
}

function parsePath(text: string): string | undefined {
  return text || undefined;
}

function parseLogLevel(text: string): LogLevel | undefined {
  const level = text.toUpperCase().replace(/^WARNING$/, "WARN");
  return LOG_LEVELS.find((known) => known === level);
}
