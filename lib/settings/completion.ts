/**
 * Completion scripts for shells, from the table of settings.
 *
 * @module
 */

import { UserError } from "../errors.ts";
import { COMMANDS, INFO_FLAGS, SHELLS } from "./help.ts";
import { isBooleanFlag, SETTINGS } from "./settings.ts";

const SCRIPTS: Readonly<Record<typeof SHELLS[number], () => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

/**
 * Returns the completion script for a shell.
 *
 * @param args Arguments of the command `completion`: the name of one of {@linkcode SHELLS}.
 * @throws {UserError} If they are anything else.
 */
export function completionScript(args: readonly string[]): string {
  const shell = SHELLS.find((name) => name === args[0]);
  if (shell !== undefined && args.length === 1) return SCRIPTS[shell]();
  const accepted = SHELLS.map((name) => `\`${name}\``).join(", ").replace(/, ([^,]+)$/, " or $1");
  const got = args.length === 0 ? "nothing" : args.map((arg) => JSON.stringify(arg)).join(" ");
  throw new UserError(`completion: expected ${accepted}, got ${got}`);
}

/**
 * Needs no package bash-completion. `=` is in bash's COMP_WORDBREAKS: a flag and its value are two words or three.
 * A value that begins with a dash is taken for a flag, since booleans need no value.
 */
function bashScript(): string {
  const cases = Object.values(SETTINGS).map(({ flag, completes }) =>
    completes === "file"
      ? `      --${flag}) compopt -o filenames 2>/dev/null; _ollama_exporter_reply -f; return ;;`
      : `      --${flag}) _ollama_exporter_reply -W "${completes?.join(" ") ?? ""}"; return ;;`
  );
  const flags = [
    ...Object.values(SETTINGS).map(({ flag }) => `--${flag}=`),
    ...Object.keys(INFO_FLAGS).map((flag) => `--${flag}`),
  ];
  return `# bash completion for ollama-exporter

# Replies with what compgen finds, a line each.
_ollama_exporter_reply() {
  local line
  while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen "$@" -- "$word")
}

_ollama_exporter() {
  local word=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]}
  COMPREPLY=()
  if [[ $word == = ]]; then
    word=
  elif [[ $previous == = ]] && ((COMP_CWORD > 1)); then
    previous=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  if [[ \${COMP_WORDS[1]} == completion ]] && ((COMP_CWORD > 1)); then
    if ((COMP_CWORD == 2)); then _ollama_exporter_reply -W "${SHELLS.join(" ")}"; fi
    return
  fi
  if [[ $word != -* ]]; then
    case $previous in
${cases.join("\n")}
    esac
  fi
  if ((COMP_CWORD == 1)); then _ollama_exporter_reply -W "${Object.keys(COMMANDS).join(" ")}"; fi
  _ollama_exporter_reply -W "${flags.join(" ")}"
  if [[ \${COMPREPLY[0]-} == *= ]]; then compopt -o nospace 2>/dev/null; fi
}

complete -F _ollama_exporter ollama-exporter`;
}

/** Works as a file `_ollama-exporter` of `$fpath`, and sourced after `compinit`. */
function zshScript(): string {
  const specs = [
    ...Object.values(SETTINGS).map(({ flag, completes, help }) => {
      const values = completes === "file" ? "_files" : completes === undefined ? " " : `(${completes.join(" ")})`;
      const [separator, colons] = isBooleanFlag(flag) ? ["=-", "::"] : ["=", ":"];
      return `--${flag}${separator}[${zshText(help)}]${colons}value:${values}`;
    }),
    ...Object.entries(INFO_FLAGS).map(([flag, help]) => `(- *)--${flag}[${zshText(help)}]`),
    `1:command:((${Object.entries(COMMANDS).map(([name, { help }]) => `${name}\\:"${zshText(help)}"`).join(" ")}))`,
  ];
  return `#compdef ollama-exporter
compdef _ollama-exporter ollama-exporter

_ollama-exporter() {
  if [[ $words[2] == completion ]] && ((CURRENT > 2)); then
    if ((CURRENT == 3)); then compadd ${SHELLS.join(" ")}; fi
    return
  fi
  _arguments ${specs.map((spec) => `\\\n    ${quoted(spec)}`).join(" ")}
}

# As a file of $fpath, it is run as the function itself.
if [[ $funcstack[1] == _ollama-exporter ]]; then _ollama-exporter "$@"; fi`;
}

/** Escapes what has a meaning in the descriptions of zsh's `_arguments`. */
function zshText(help: string): string {
  return plain(help).replace(/[[\]:\\"]/g, "\\$&");
}

function fishScript(): string {
  const complete = (...args: string[]): string => ["complete -c ollama-exporter", ...args].join(" ");
  const first = "-n __fish_use_subcommand";
  const isCompletion = "__fish_seen_subcommand_from completion";
  const flags = [
    ...Object.values(SETTINGS).map(({ flag, completes, help }) => {
      const words = completes === undefined || completes === "file" ? [] : ["-a", quoted(completes.join(" "))];
      const value = isBooleanFlag(flag) ? "-f" : completes === "file" ? "-r -F" : "-x";
      return [`-l ${flag}`, value, ...words, "-d", fishText(help)];
    }),
    ...Object.entries(INFO_FLAGS).map(([flag, help]) => [`-l ${flag}`, "-f", "-d", fishText(help)]),
  ];
  return [
    "# fish completion for ollama-exporter",
    complete("-f"),
    ...Object.entries(COMMANDS).map(([name, { help }]) => complete(first, "-a", name, "-d", fishText(help))),
    complete("-n", quoted(isCompletion), "-a", quoted(SHELLS.join(" "))),
    ...flags.map((args) => complete("-n", quoted(`not ${isCompletion}`), ...args)),
  ].join("\n");
}

/** Quotes for fish, where a backslash is special within single quotes. */
function fishText(help: string): string {
  return `'${plain(help).replace(/[\\']/g, "\\$&")}'`;
}

/** Quotes for bash and zsh, and for fish where the text has neither quotes nor backslashes. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A description without Markdown and its full stop. */
function plain(help: string): string {
  return help.replaceAll("`", "").replace(/\.$/, "");
}
