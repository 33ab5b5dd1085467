/**
 * Table of all settings: flag, environment variable, default, parser and help text. No other file knows their names.
 *
 * @module
 */

import { UserError } from "../errors.ts";
import type { Address } from "../http.ts";
import { parseDuration, parseInteger } from "./parse.ts";

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
  /** Milliseconds, over 0. */
  readonly probeTimeoutMs: number;
  readonly webServer: WebServer;
  readonly listenAddress: Address;
  /** Listen address of the admin endpoints; `undefined` serves them on `listenAddress`. */
  readonly metricsListenAddress: Address | undefined;
  readonly metricsPath: string;
  /** Path of the web config file; `undefined` disables TLS and authentication. */
  readonly webConfigFile: string | undefined;
  /** Host names in lower case; `*.example.com` matches every name under `example.com`. */
  readonly allowedHosts: readonly string[];
  /** Milliseconds; 0 aborts open requests at once. */
  readonly shutdownTimeoutMs: number;
  readonly openaiStreamUsage: boolean;
  readonly modelLabelLimit: number;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  /** Path of the log config file; `undefined` uses {@linkcode LOG_CONFIG_FILE} if it exists. */
  readonly logConfig: string | undefined;
}

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
    accepts: "`host`, `host:port` or `https://host/path`, as `ollama` does, except ports reserved for other protocols",
    help: "Base URL of the Ollama server.",
    parse: (text) => withAllowedPort(parseOllamaHost(text)),
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
    default: "0.0.0.0:8000",
    accepts: "`host:port`, `:port` or `[::]:port`",
    help: "Listen address for Ollama clients.",
    parse: parseAddress,
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
    default: "deno",
    accepts: "`deno` (`Deno.serve`) or `node` (`node:http`)",
    help: "HTTP server implementation.",
    parse: (text) => WEB_SERVERS.find((server) => server === text),
  },
  webConfigFile: {
    variable: "WEB_CONFIG_FILE",
    flag: "web.config.file",
    default: "",
    accepts: "the path of a file in the exporter-toolkit format",
    help: "Web configuration file: TLS, basic authentication and rate limit of the admin endpoints.",
    parse: parsePath,
  },
  allowedHosts: {
    variable: "ALLOWED_HOSTS",
    flag: "web.allowed-hosts",
    default: "",
    accepts: "comma-separated names such as `ollama.example.com,*.example.org`",
    help: "Host names allowed in browser requests, besides addresses and local names.",
    parse: parseHosts,
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
    help: "Request usage (stream_options.include_usage) on OpenAI streams that lack it, and hide it from the client.",
    parse: (text) => text === "true" || text === "false" ? text === "true" : undefined,
  },
  modelLabelLimit: {
    variable: "MODEL_LABEL_LIMIT",
    flag: "metrics.model-limit",
    default: "200",
    accepts: "an integer from 1 to 10000",
    help: "Maximum number of `model` label values; further models are reported as `other`.",
    parse: (text) => parseInteger(text, 1, 10_000),
  },
  logLevel: {
    variable: "LOG_LEVEL",
    flag: "log.level",
    default: "INFO",
    accepts: "`DEBUG`, `INFO`, `WARN`, `WARNING` or `ERROR`, in any case",
    help: "Minimum log level. DEBUG logs every request.",
    parse: parseLogLevel,
  },
  logFormat: {
    variable: "LOG_FORMAT",
    flag: "log.format",
    default: "text",
    accepts: "`text` (logfmt) or `json`",
    help: "Log output format.",
    parse: (text) => LOG_FORMATS.find((format) => format === text),
  },
  logConfig: {
    variable: "LOG_CONFIG",
    flag: "log.config",
    default: "",
    accepts: "the path of a YAML file",
    help: `Log configuration file: level, format and log file. Defaults to \`${LOG_CONFIG_FILE}\` if it exists.`,
    parse: parsePath,
  },
};

/** Parsed command line. `given` holds the settings that were set, as opposed to left at their default. */
export type Command =
  | { readonly name: "serve" | "health"; readonly config: Config; readonly given: ReadonlySet<keyof Config> }
  | { readonly name: "help" }
  | { readonly name: "version" };

/**
 * Parses the command line and the environment.
 *
 * @param args Command-line arguments: `--flag=value` or `--flag value`.
 * @param variable Returns the value of an environment variable, or `undefined` if it is not set.
 * @throws {UserError} With a line for each unknown argument and each invalid value.
 */
export function parseCommand(args: readonly string[], variable: (name: string) => string | undefined): Command {
  if (args.includes("--help") || args.includes("-h")) return { name: "help" };
  if (args.includes("--version")) return { name: "version" };
  const name = args[0] === "health" ? "health" : "serve";
  const problems: string[] = [];
  const flags = parseFlags(name === "health" ? args.slice(1) : args, problems);
  const values = new Map<string, unknown>();
  const given = new Set<keyof Config>();
  for (const [name, setting] of Object.entries(SETTINGS) as [keyof Config, Setting<unknown>][]) {
    const flag = flags.get(setting.flag);
    const text = flag ?? variable(setting.variable) ?? "";
    if (text !== "") given.add(name);
    const value = setting.parse(text || setting.default);
    values.set(name, value);
    if (value !== undefined || text === "" && setting.default === "") continue;
    const source = flag === undefined ? setting.variable : `--${setting.flag}`;
    problems.push(`${source}: expected ${setting.accepts}, got ${JSON.stringify(text)}`);
  }
  if (problems.length > 0) throw new UserError(problems.join("\n"));
  return { name, config: Object.fromEntries(values) as unknown as Config, given };
}

function parseFlags(args: readonly string[], problems: string[]): Map<string, string> {
  const known = new Set(Object.values(SETTINGS).map((setting) => setting.flag));
  const flags = new Map<string, string>();
  for (let index = 0; index < args.length; index++) {
    const [, flag = "", inline] = /^--?([^=]+)(?:=(.*))?$/s.exec(args[index] ?? "") ?? [];
    if (!known.has(flag)) {
      problems.push(`Unknown argument ${JSON.stringify(args[index])}: see --help`);
      continue;
    }
    const value = inline ?? args[++index];
    if (value === undefined) problems.push(`--${flag}: missing value`);
    else flags.set(flag, value);
  }
  return flags;
}

/** Returns the text of `--help`. */
export function helpText(): string {
  const rows = Object.values(SETTINGS).map((setting) =>
    [
      `  --${setting.flag}=${JSON.stringify(setting.default)}  (${setting.variable})`,
      `      ${setting.help} Accepts ${setting.accepts}.`,
    ].join("\n")
  );
  return [
    "Usage: ollama-exporter [flags]",
    "       ollama-exporter health [flags]   checks a running exporter: exits with 0 if it is healthy, else with 1",
    "",
    "A transparent proxy for Ollama that exports Prometheus metrics about its traffic.",
    "Flags override the environment variables in parentheses.",
    "",
    ...rows,
    "  --help  Print this help and exit.",
    "  --version  Print version information and exit.",
  ].join("\n");
}

function parsePath(text: string): string | undefined {
  return text || undefined;
}

function parseHosts(text: string): string[] | undefined {
  const hosts = text.toLowerCase().split(",").map((host) => host.trim()).filter((host) => host !== "");
  return hosts.every((host) => /^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(host)) ? hosts : undefined;
}

function parseLogLevel(text: string): LogLevel | undefined {
  const level = text.toUpperCase().replace(/^WARNING$/, "WARN");
  return LOG_LEVELS.find((known) => known === level);
}

function parseAddress(text: string): Address | undefined {
  const split = splitHostPort(text);
  if (split === undefined || !/^\d+$/.test(split.port) || Number(split.port) > 65535) return undefined;
  if (/[\s/@?#]/.test(split.host)) return undefined;
  return { hostname: split.host || "0.0.0.0", port: Number(split.port) };
}

/**
 * Parses `OLLAMA_HOST` by Ollama's own rules (docs/ollama-api.md 7.2) into a URL that a client can connect to.
 *
 * @returns `undefined` if the scheme is neither `http` nor `https`, or the host is invalid.
 */
export function parseOllamaHost(text: string): URL | undefined {
  const value = text.trim().replace(/^["']+|["']+$/g, "").trim();
  const mark = value.indexOf("://");
  let scheme = mark < 0 ? "http" : value.slice(0, mark);
  let rest = mark < 0 ? value : value.slice(mark + 3);
  let defaultPort = mark < 0 ? "11434" : { http: "80", https: "443" }[scheme];
  if (value === "ollama.com") [scheme, rest, defaultPort] = ["https", "ollama.com:443", "443"];
  if (defaultPort === undefined) return undefined;

  const slash = rest.indexOf("/");
  const authority = slash < 0 ? rest : rest.slice(0, slash);
  const path = slash < 0 ? "" : rest.slice(slash);
  // Ollama would treat these as part of the name or path; they can only be mistakes.
  if (/[@\s\\]/.test(authority) || /[?#]/.test(rest)) return undefined;
  let { host, port } = splitHostPort(authority) ?? { host: authority.replace(/^\[|\]$/g, ""), port: "" };
  if (!/^\d+$/.test(port) || Number(port) > 65535) port = defaultPort;
  if (host.includes(":")) host = `[${host}]`;
  const url = URL.parse(`${scheme}://${host || "127.0.0.1"}:${port}${path}`) ?? undefined;
  // Unspecified addresses are for listening only; a client connects to the loopback address of the same family.
  if (url?.hostname === "0.0.0.0") url.hostname = "127.0.0.1";
  if (url?.hostname === "[::]") url.hostname = "[::1]";
  return url;
}

/** Ports that `fetch` refuses to connect to (WHATWG Fetch, 2.9). */
// deno-fmt-ignore
const BAD_PORTS = new Set([
  0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
  111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540,
  548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566,
  6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
]);

function withAllowedPort(url: URL | undefined): URL | undefined {
  return url !== undefined && url.port !== "" && BAD_PORTS.has(Number(url.port)) ? undefined : url;
}

/** Splits like Go's `net.SplitHostPort`; returns `undefined` if the port is missing or there are too many colons. */
function splitHostPort(text: string): { host: string; port: string } | undefined {
  const [, bracketed, plain, port] = /^(?:\[([^[\]]*)\]|([^:[\]]*)):([^:[\]]*)$/.exec(text) ?? [];
  return port === undefined ? undefined : { host: bracketed ?? plain ?? "", port };
}
