/**
 * The command line and the environment, parsed by the table of settings.
 *
 * @module
 */

import { coversAddress, isOwnAddress } from "./addresses.ts";
import { parseFlags, quoted } from "./flags.ts";
import { type Config, isBooleanFlag, type Setting, SETTINGS } from "./settings.ts";

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
