/**
 * The settings: one table of flag, environment variable, default, parser and help. Nothing else knows their names.
 *
 * @module
 */

import { UserError } from "../errors.ts";
import type { Address } from "../http.ts";

/** Levels of the log, from the most to the least talkative. */
export const LOG_LEVELS = ["DEBUG", "INFO", "WARN", "ERROR"] as const;
/** A level of the log. */
export type LogLevel = typeof LOG_LEVELS[number];

/** What listens: `Deno.serve` or `node:http`. */
export const WEB_SERVERS = ["deno", "node"] as const;
/** What listens. */
export type WebServer = typeof WEB_SERVERS[number];

/** All settings, as the program uses them. */
export interface Config {
  readonly ollamaHost: URL;
  readonly probeTimeoutMs: number;
  readonly webServer: WebServer;
  readonly listenAddress: Address;
  /** Where the own paths are served instead; `undefined`: on the listen address. */
  readonly metricsListenAddress: Address | undefined;
  readonly metricsPath: string;
  /** Path of a file; `undefined`: neither TLS nor passwords. */
  readonly webConfigFile: string | undefined;
  /** Names in lower case; `*.example.com` stands for every name under `example.com`. */
  readonly allowedHosts: readonly string[];
  readonly shutdownTimeoutMs: number;
  readonly openaiStreamUsage: boolean;
  readonly modelLabelLimit: number;
  readonly logLevel: LogLevel;
  readonly logFormat: "text" | "json";
  /** Path of a file; `undefined`: {@linkcode LOG_CONFIG_FILE}, if there is one. */
  readonly logConfig: string | undefined;
}

/** File with settings of the log that is read where none is named, from the working directory. */
export const LOG_CONFIG_FILE = "log_config.yaml";

/** One row of the table. */
export interface Setting<T> {
  /** Environment variable. */
  readonly variable: string;
  /** Flag, which wins over the variable. */
  readonly flag: string;
  /** Text that is parsed where neither is given, and for an empty one; empty: there is no value then. */
  readonly default: string;
  /** What is accepted, for `--help`, the README and error messages. */
  readonly accepts: string;
  /** What it does, in one sentence. */
  readonly help: string;
  /** Returns the value, or `undefined` for what is not accepted. */
  readonly parse: (text: string) => T | undefined;
}

/** Every setting, in the order of `--help` and of the README. */
export const SETTINGS: { readonly [Name in keyof Config]-?: Setting<Config[Name]> } = {
  ollamaHost: {
    variable: "OLLAMA_HOST",
    flag: "ollama.host",
    default: "http://localhost:11434",
    accepts: "`host`, `host:port`, `https://host/path`, as for `ollama`, but no port of another protocol",
    help: "Where Ollama is.",
    parse: (text) => reachable(parseOllamaHost(text)),
  },
  probeTimeoutMs: {
    variable: "PROBE_TIMEOUT",
    flag: "ollama.probe-timeout",
    default: "3s",
    accepts: "a duration over 0 such as `500ms`, `3s`, `1m30s`",
    help: "How long Ollama may take to say how it is.",
    parse: (text) => parseDuration(text) || undefined,
  },
  listenAddress: {
    variable: "LISTEN_ADDRESS",
    flag: "web.listen-address",
    default: "0.0.0.0:8000",
    accepts: "`host:port`, `:port`, `[::]:port`",
    help: "Address that clients use in place of Ollama's.",
    parse: parseAddress,
  },
  metricsListenAddress: {
    variable: "METRICS_LISTEN_ADDRESS",
    flag: "web.metrics-listen-address",
    default: "",
    accepts: "`host:port`, `:port`, `[::]:port`",
    help: "Address of the exporter's own paths. Without it they are on the listen address, with it only here.",
    parse: parseAddress,
  },
  metricsPath: {
    variable: "METRICS_PATH",
    flag: "web.telemetry-path",
    default: "/metrics",
    accepts: "a path of letters, digits and `-._~/` such as `/metrics`; not `/`, nor under `/-/`, `/api/` or `/v1/`",
    help: "Path of the metrics.",
    parse: (text) => /^\/(?!(-|api|v1)\/)[\w.~/-]+$/.test(text) ? text : undefined,
  },
  webServer: {
    variable: "WEB_SERVER",
    flag: "web.server",
    default: "deno",
    accepts: "`deno` (`Deno.serve`) or `node` (`node:http`)",
    help: "What listens; only `node` notices every client that leaves before its answer begins.",
    parse: (text) => WEB_SERVERS.find((known) => known === text),
  },
  webConfigFile: {
    variable: "WEB_CONFIG_FILE",
    flag: "web.config.file",
    default: "",
    accepts: "the path of a file in the exporter toolkit's format",
    help: "TLS for the listener of the own paths, and passwords and a rate limit for these paths.",
    parse: parsePath,
  },
  allowedHosts: {
    variable: "ALLOWED_HOSTS",
    flag: "web.allowed-hosts",
    default: "",
    accepts: "names, as in `ollama.example.com,*.example.org`",
    help: "Names by which browsers may reach the exporter, beside addresses and local names.",
    parse: parseHosts,
  },
  shutdownTimeoutMs: {
    variable: "SHUTDOWN_TIMEOUT",
    flag: "web.shutdown-timeout",
    default: "30s",
    accepts: "a duration such as `0s`, `30s`, `5m`",
    help: "How long open requests may go on after SIGTERM or SIGINT.",
    parse: parseDuration,
  },
  openaiStreamUsage: {
    variable: "OPENAI_STREAM_USAGE",
    flag: "openai.stream-usage",
    default: "true",
    accepts: "`true` or `false`",
    help:
      "Whether OpenAI streams are asked for token counts where the client did not ask; the client does not see them.",
    parse: (text) => text === "true" || text === "false" ? text === "true" : undefined,
  },
  modelLabelLimit: {
    variable: "MODEL_LABEL_LIMIT",
    flag: "metrics.model-limit",
    default: "200",
    accepts: "a whole number from 1 to 10000",
    help: "Distinct models in labels; the ones beyond it share the label `other`.",
    parse: (text) => parseInteger(text, 1, 10_000),
  },
  logLevel: {
    variable: "LOG_LEVEL",
    flag: "log.level",
    default: "INFO",
    accepts: "`DEBUG`, `INFO`, `WARNING` or `WARN`, `ERROR`, in any case",
    help: "Least level that is logged. DEBUG logs a line for each request.",
    parse: parseLogLevel,
  },
  logFormat: {
    variable: "LOG_FORMAT",
    flag: "log.format",
    default: "text",
    accepts: "`text` or `json`",
    help: "Form of the log's lines.",
    parse: (text) => text === "text" || text === "json" ? text : undefined,
  },
  logConfig: {
    variable: "LOG_CONFIG",
    flag: "log.config",
    default: "",
    accepts: "the path of a YAML file",
    help: `Level, format and file of the log; \`${LOG_CONFIG_FILE}\` of the working directory, if there is one.`,
    parse: parsePath,
  },
};

/** What the command line asks for. `given` are the settings that have a value of their own, not their default. */
export type Command =
  | { readonly name: "serve" | "health"; readonly config: Config; readonly given: ReadonlySet<keyof Config> }
  | { readonly name: "help" }
  | { readonly name: "version" };

/**
 * Reads the command line and the environment.
 *
 * @param args Arguments of the program: `--flag=value` or `--flag value`.
 * @param variable Value of an environment variable, or `undefined`.
 * @throws {UserError} Where an argument is unknown or a value not accepted; all of them are named.
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
    problems.push(`${source} is ${JSON.stringify(text)}; accepted: ${setting.accepts}`);
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
      problems.push(`Unknown argument ${JSON.stringify(args[index])}; --help lists what is accepted`);
      continue;
    }
    const value = inline ?? args[++index];
    if (value === undefined) problems.push(`--${flag} has no value; accepted: --${flag}=VALUE`);
    else flags.set(flag, value);
  }
  return flags;
}

/** The text of `--help`. */
export function helpText(): string {
  const rows = Object.values(SETTINGS).map((setting) =>
    [
      `  --${setting.flag}=${JSON.stringify(setting.default)}  (${setting.variable})`,
      `      ${setting.help} Accepted: ${setting.accepts}.`,
    ].join("\n")
  );
  return [
    "Usage: ollama-exporter [flags]",
    "       ollama-exporter health [flags]   asks the running exporter whether it serves; exits with 0 or 1",
    "",
    "A transparent proxy in front of Ollama that turns the traffic into Prometheus metrics.",
    "A flag wins over the environment variable in brackets.",
    "",
    ...rows,
    "  --help",
    "  --version",
  ].join("\n");
}

/** A duration as Go writes it, in milliseconds. */
function parseDuration(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return undefined;
  const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  let sum = 0;
  for (const [, number, , unit = ""] of text.matchAll(/(\d+(\.\d+)?)(ms|s|m|h)/g)) {
    sum += Number(number) * (units[unit] ?? NaN);
  }
  // Timers hold 31 bits of milliseconds.
  return sum < 2 ** 31 ? sum : undefined;
}

function parsePath(text: string): string | undefined {
  return text || undefined;
}

function parseHosts(text: string): string[] | undefined {
  const hosts = text.toLowerCase().split(",").map((host) => host.trim()).filter((host) => host !== "");
  return hosts.every((host) => /^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(host)) ? hosts : undefined;
}

function parseInteger(text: string, least: number, most: number): number | undefined {
  const value = Number(text);
  return /^\d+$/.test(text) && value >= least && value <= most ? value : undefined;
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
 * `OLLAMA_HOST` by Ollama's own rules (section 7.2 of the API), as a client that has to connect to it.
 *
 * @returns `undefined` for a scheme or a host that HTTP cannot be spoken to.
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
  // Ollama would take these for parts of a name or a path; they can only be mistakes.
  if (/[@\s\\]/.test(authority) || /[?#]/.test(rest)) return undefined;
  let { host, port } = splitHostPort(authority) ?? { host: authority.replace(/^\[|\]$/g, ""), port: "" };
  if (!/^\d+$/.test(port) || Number(port) > 65535) port = defaultPort;
  if (host.includes(":")) host = `[${host}]`;
  const url = URL.parse(`${scheme}://${host || "127.0.0.1"}:${port}${path}`) ?? undefined;
  // An address that means "all of them" is one to listen on; a client connects to the loopback of its family.
  if (url?.hostname === "0.0.0.0") url.hostname = "127.0.0.1";
  if (url?.hostname === "[::]") url.hostname = "[::1]";
  return url;
}

/** Ports of other protocols, to which `fetch` does not connect (WHATWG Fetch, 2.9). */
// deno-fmt-ignore
const BAD_PORTS = new Set([
  0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
  111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540,
  548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566,
  6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
]);

function reachable(url: URL | undefined): URL | undefined {
  return url !== undefined && url.port !== "" && BAD_PORTS.has(Number(url.port)) ? undefined : url;
}

/** Go's `net.SplitHostPort`: `undefined` where the text has no port, or colons that belong to neither. */
function splitHostPort(text: string): { host: string; port: string } | undefined {
  const [, bracketed, plain, port] = /^(?:\[([^[\]]*)\]|([^:[\]]*)):([^:[\]]*)$/.exec(text) ?? [];
  return port === undefined ? undefined : { host: bracketed ?? plain ?? "", port };
}
