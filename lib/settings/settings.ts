/**
 * Table of all settings: flag, environment variable, default, parser and help text. No other file knows their names.
 *
 * @module
 */

import type { Address } from "../http.ts";
import { coversAddress, isOwnAddress } from "./addresses.ts";
import { type ClientLabel, parseClientLabel } from "./client_label.ts";
import { parseFlags, quoted } from "./flags.ts";
import { parseOllamaHost } from "./ollama_host.ts";
import {
  parseAddress,
  parseBoolean,
  parseDuration,
  parseHosts,
  parseInteger,
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
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  /** Path of the log config file; `undefined` uses {@linkcode LOG_CONFIG_FILE} if it exists. */
  readonly logConfig: string | undefined;
}

/** Texts of a boolean. */
const BOOLEANS = ["true", "false"] as const;

/** Default log config file, relative to the working directory. */
export const LOG_CONFIG_FILE = "log_config.yaml";

/** Maximum delay of a timer: its milliseconds are a signed 32-bit integer. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A row of {@linkcode SETTINGS}. */
interface Setting<T> {
  /** Environment variable. */
  readonly variable: string;
  /** Flag without its dashes; overrides the environment variable. */
  readonly flag: string;
  /** Text parsed if the setting is absent or empty. An empty default means no value. */
  readonly default: string;
  /** Accepted values, for `--help`, the README and error messages. */
  readonly accepts: string;
  /** What shells complete: the values that can be listed, or file names; `undefined` if nothing. */
  readonly completes?: readonly string[] | "file";
  /** Description for `--help` and the README. */
  readonly help: string;
  /** Returns the value, or `undefined` if the text is invalid. */
  readonly parse: (text: string) => T | undefined;
}

/** Every setting, in the order of `--help` and of the README. */
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
    accepts: "a duration over 0 and up to `596h`, such as `500ms`, `3s` or `1m30s`",
    help: "Timeout of each status request to Ollama (/api/version, /api/ps, /api/tags).",
    parse: (text) => parseDuration(text, MAX_TIMER_MS) || undefined,
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

/** Parsed command line of a command that uses the settings. */
export interface ConfiguredCommand {
  readonly name: "serve" | "health";
  /** Values of all settings; where a value is invalid, the default. */
  readonly config: Config;
  /** The settings that were set, as opposed to left at their default, each with the variable or flag that set it. */
  readonly given: ReadonlyMap<keyof Config, string>;
  /** A line for each unknown argument and each invalid value. With any, the command must not be run. */
  readonly problems: readonly string[];
}

/** Parsed command line. */
export type Command =
  | ConfiguredCommand
  | { readonly name: "help" }
  | { readonly name: "version" }
  | { readonly name: "completion"; readonly args: readonly string[] };

/**
 * Parses the command line and the environment.
 *
 * @param args Command-line arguments: `--flag=value` or `--flag value`; for a boolean, `--flag` is `true`.
 * @param variable Returns the value of an environment variable, or `undefined` if it is not set.
 * @param machine Host name of this machine, by which `serve` must not be its own upstream.
 */
export function parseCommand(
  args: readonly string[],
  variable: (name: string) => string | undefined,
  machine: string,
): Command {
  if (args.includes("--help") || args.includes("-h")) return { name: "help" };
  if (args.includes("--version")) return { name: "version" };
  if (args[0] === "completion") return { name: "completion", args: args.slice(1) };
  const name = args[0] === "health" ? "health" : "serve";
  const problems: string[] = [];
  const known = new Map(Object.values(SETTINGS).map(({ flag }) => [flag, isBooleanFlag(flag)]));
  const flags = parseFlags(name === "health" ? args.slice(1) : args, known, problems);
  const values = new Map<string, unknown>();
  const given = new Map<keyof Config, string>();
  /** Texts of the valid settings. */
  const texts = new Map<keyof Config, string>();
  for (const [name, setting] of Object.entries(SETTINGS) as [keyof Config, Setting<unknown>][]) {
    const flag = flags.get(setting.flag);
    const text = flag ?? variable(setting.variable) ?? "";
    const source = flag === undefined ? setting.variable : `--${setting.flag}`;
    if (text !== "") given.set(name, source);
    const value = setting.parse(text || setting.default);
    values.set(name, value ?? setting.parse(setting.default));
    if (value !== undefined) texts.set(name, text || setting.default);
    else if (text !== "" || setting.default !== "") {
      problems.push(`${source}: expected ${setting.accepts}, got ${quoted(text)}`);
    }
  }
  const config = Object.fromEntries(values) as unknown as Config;
  const command: ConfiguredCommand = { name, config, given, problems };
  // With a socket passed by systemd (sd_listen_fds(3)) this address is not used.
  if (variable("LISTEN_FDS") !== undefined) texts.delete("listenAddress");
  if (name === "serve") problems.push(...addressProblems(command, texts, machine), ...clientProblems(command));
  return command;
}

/** Name of a setting in messages: the flag that set it, otherwise its variable. */
export function sourceOf(name: keyof Config, { given }: Pick<ConfiguredCommand, "given">): string {
  return given.get(name) ?? SETTINGS[name].variable;
}

/** Returns a line for each address that another one rules out. */
function addressProblems(
  command: ConfiguredCommand,
  texts: ReadonlyMap<keyof Config, string>,
  machine: string,
): string[] {
  const problems: string[] = [];
  const { ollamaHost, listenAddress, metricsListenAddress } = command.config;
  const ollama = texts.get("ollamaHost");
  for (const name of ["listenAddress", "metricsListenAddress"] as const) {
    const address = command.config[name];
    if (ollama === undefined || !texts.has(name) || address === undefined) continue;
    if (!isOwnAddress(ollamaHost, address, machine)) continue;
    const [source, own] = [sourceOf("ollamaHost", command), sourceOf(name, command)];
    problems.push(`${source}: expected the address of Ollama, got ${quoted(ollama)}, the exporter's own (${own})`);
  }
  const metrics = texts.get("metricsListenAddress");
  if (metrics === undefined || metricsListenAddress === undefined || !texts.has("listenAddress")) return problems;
  if (coversAddress(listenAddress, metricsListenAddress) || coversAddress(metricsListenAddress, listenAddress)) {
    const [source, other] = [sourceOf("metricsListenAddress", command), sourceOf("listenAddress", command)];
    problems.push(`${source}: expected an address or port that ${other} does not use, got ${quoted(metrics)}`);
  }
  return problems;
}

/** Returns a line if clients are told apart by keys that no file has. */
function clientProblems(command: ConfiguredCommand): string[] {
  const { clientLabel, clientKeysFile } = command.config;
  if (clientLabel !== "api-key" || clientKeysFile !== undefined) return [];
  const [source, label] = [sourceOf("clientKeysFile", command), sourceOf("clientLabel", command)];
  return [`${source}: expected ${SETTINGS.clientKeysFile.accepts}, for ${label}=api-key, got ""`];
}

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
