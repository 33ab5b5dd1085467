/**
 * The man page, from the table of settings, in the macros of man(7).
 *
 *     deno run tools/man.ts | man -l -
 *
 * @module
 */

import denoJson from "../deno.json" with { type: "json" };
import { COMMANDS, INFO_FLAGS, SUMMARY } from "../lib/settings/help.ts";
import { LOG_CONFIG_FILE, SETTINGS } from "../lib/settings/settings.ts";

/** Folder of the service's files, its working directory. */
const ETC = "/etc/ollama-exporter";

/** Signals of Linux; see lib/listen/signals.ts. */
const SIGNALS: readonly [names: string, effect: string][] = [
  [
    "SIGTERM, SIGINT",
    `Stop accepting connections and wait for open requests, at most \`${SETTINGS.shutdownTimeoutMs.variable}\`. ` +
    "A second signal at least a second later aborts them.",
  ],
  [
    "SIGHUP",
    `Reload \`${SETTINGS.webConfigFile.variable}\`, \`${SETTINGS.ollamaHeadersFile.variable}\` and ` +
    `\`${SETTINGS.clientKeysFile.variable}\`. ` +
    "With a terminal on standard error, stop as on SIGTERM.",
  ],
];

const FILES: readonly [path: string, what: string][] = [
  [`${ETC}/ollama-exporter.env`, "Environment variables of the systemd service."],
  [LOG_CONFIG_FILE, `Log configuration in the working directory, which is ${ETC} for the service.`],
  ["/var/log/ollama-exporter", "Folder for the log file of the service, if one is configured."],
];

const EXAMPLES: readonly [what: string, command: string][] = [
  ["Listen for clients on this machine only:", "ollama-exporter --web.listen-address=127.0.0.1:8000"],
  ["Serve metrics on another port:", "ollama-exporter --web.metrics-listen-address=:9101"],
  ["Chat through it, and see its metrics:", 'OLLAMA_HOST=localhost:8000 ollama run llama3.2 "Why is the sky blue?"'],
  ["", "curl -s localhost:8000/metrics"],
];

/**
 * Returns the man page.
 *
 * @param date Date in its footer, as `YYYY-MM-DD`.
 */
export function manPage(date: string): string {
  return [
    `.TH OLLAMA\\-EXPORTER 1 "${date}" "ollama\\-exporter ${denoJson.version}"`,
    ".SH NAME",
    "ollama\\-exporter \\- transparent proxy for Ollama with Prometheus metrics",
    ".SH SYNOPSIS",
    ...["", ...Object.entries(COMMANDS).map(([name, { args }]) => `${name} ${args}`)].flatMap((words, index) => [
      ...index === 0 ? [] : [".br"],
      `.B ollama\\-exporter ${roff(words === "" ? "[flags]" : words)}`,
    ]),
    ".SH DESCRIPTION",
    roff(SUMMARY),
    "It forwards every request to Ollama and returns its responses unchanged.",
    ".PP",
    "Every setting has a flag and an environment variable; the flag takes precedence.",
    ".SH COMMANDS",
    ...Object.entries(COMMANDS).flatMap(([name, { args, help }]) => item(`\\fB${name}\\fR ${roff(args)}`, help)),
    ".SH OPTIONS",
    ...Object.values(SETTINGS).flatMap((setting) =>
      item(
        `\\fB\\-\\-${roff(setting.flag)}\\fR=\\fIvalue\\fR, \\fB${setting.variable}\\fR`,
        setting.help,
        `Accepts ${setting.accepts}.`,
        setting.default === "" ? "Default: none." : `Default: \`${setting.default}\`.`,
      )
    ),
    ...Object.entries(INFO_FLAGS).flatMap(([flag, help]) => item(`\\fB\\-\\-${flag}\\fR`, help)),
    ".SH SIGNALS",
    ...SIGNALS.flatMap(([names, effect]) => item(`\\fB${names}\\fR`, effect)),
    ".SH FILES",
    ...FILES.flatMap(([path, what]) => item(`\\fI${roff(path)}\\fR`, what)),
    ".SH EXIT STATUS",
    "0 after a signal, and for a healthy exporter; 1 if a setting is invalid, an address cannot be listened on, or the",
    "exporter is not healthy.",
    ".SH EXAMPLES",
    ...EXAMPLES.flatMap(([what, command], index) => [
      ...what === "" ? [] : index === 0 ? [what] : [".PP", what],
      ".PP",
      ".RS",
      ".nf",
      roff(command),
      ".fi",
      ".RE",
    ]),
    ".SH SEE ALSO",
    ".BR systemd.socket (5),",
    ".BR systemctl (1),",
    ".BR prometheus (1)",
    "",
  ].join("\n");
}

/** An entry of a list: a term, and what is said of it. */
function item(term: string, ...texts: string[]): string[] {
  return [".TP", term, ...texts.flatMap(sentences)];
}

/** A line for each sentence, as mandoc wants it. */
function sentences(text: string): string[] {
  return text.split(/(?<=\.) (?=[A-Z])/).map(roff);
}

/**
 * Escapes a text for roff, with what is between backticks in bold. A dash is a minus sign, so that it can be copied. A
 * line that begins with a dot or an apostrophe would be a macro.
 */
function roff(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("'", "\\(aq")
    .replace(/`([^`]*)`/g, "\\fB$1\\fR")
    .replace(/^\./, "\\&.");
}

// deno-lint-ignore no-console -- the page is its output
if (import.meta.main) console.log(manPage(new Date().toISOString().slice(0, 10)));
