/**
 * Text of `--help`, and the commands, for it, the man page and the completions.
 *
 * @module
 */

import { SETTINGS } from "./settings.ts";

/** The shells for which `completion` prints a script. */
export const SHELLS = ["bash", "zsh", "fish"] as const;

/** Something besides flags that the command line may have. */
interface Word {
  /** What follows it. */
  readonly args: string;
  /** Description, a sentence. */
  readonly help: string;
}

/** Commands other than serving, by name: the first argument. */
export const COMMANDS: Readonly<Record<string, Word>> = {
  health: { args: "[flags]", help: "Check a running exporter: exit with 0 if it is healthy, else with 1." },
  completion: { args: SHELLS.join("|"), help: "Print a completion script for a shell." },
};

/** Flags that are no settings. */
export const INFO_FLAGS: Readonly<Record<string, string>> = {
  help: "Print this help and exit.",
  version: "Print version information and exit.",
};

/** What the program is, in a sentence. */
export const SUMMARY = "A transparent proxy for Ollama that exports Prometheus metrics about its traffic.";

/** Returns the text of `--help`. */
export function helpText(): string {
  const usages = Object.entries(COMMANDS).map(([name, { args }]) => `ollama-exporter ${name} ${args}`);
  const width = Math.max(...usages.map((usage) => usage.length));
  const rows = Object.values(SETTINGS).map((setting) =>
    [
      `  --${setting.flag}=${JSON.stringify(setting.default)}  (${setting.variable})`,
      `      ${setting.help} Accepts ${setting.accepts}.`,
    ].join("\n")
  );
  return [
    "Usage: ollama-exporter [flags]",
    ...Object.values(COMMANDS).map(({ help }, index) => `       ${usages[index]?.padEnd(width)}  ${help}`),
    "",
    SUMMARY,
    "Flags override the environment variables in parentheses.",
    "",
    ...rows,
    ...Object.entries(INFO_FLAGS).map(([flag, help]) => `  --${flag}  ${help}`),
  ].join("\n");
}
