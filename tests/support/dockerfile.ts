/**
 * Parses Dockerfile and .dockerignore, as far as this project uses their formats.
 *
 * @module
 */

/** An instruction of a Dockerfile. */
export interface Instruction {
  /** In capitals. */
  readonly name: string;
  /** `--from=build` as `from` to `build`. */
  readonly flags: Readonly<Record<string, string>>;
  readonly text: string;
}

/** A build stage: `FROM` and the instructions up to the next. */
export interface Stage {
  /** The name after `AS`. */
  readonly name: string | undefined;
  readonly image: string;
  readonly instructions: readonly Instruction[];
}

/** Parses a Dockerfile. */
export function parseDockerfile(text: string): Stage[] {
  const stages: { name: string | undefined; image: string; instructions: Instruction[] }[] = [];
  const lines = text.split("\n").filter((line) => !/^\s*(#|$)/.test(line)).join("\n").replace(/\\\n\s*/g, " ");
  for (const line of lines.trim().split("\n")) {
    const instruction = parseInstruction(line);
    if (instruction.name === "FROM") {
      const [image = "", , name] = instruction.text.split(/\s+/);
      stages.push({ name, image, instructions: [] });
    } else {
      const stage = stages.at(-1);
      if (stage === undefined) throw new Error(`"${line}" stands before the first FROM`);
      stage.instructions.push(instruction);
    }
  }
  return stages;
}

function parseInstruction(line: string): Instruction {
  const [, name = "", rest = ""] = /^(\w+)\s+(.*)$/.exec(line.trim()) ?? [];
  const [flagText = ""] = /^(--\S+\s+)*/.exec(rest) ?? [];
  const flags = [...flagText.matchAll(/--([\w-]+)=(\S+)/g)].map(([, flag, value]) => [flag, value]);
  return { name: name.toUpperCase(), flags: Object.fromEntries(flags), text: rest.slice(flagText.length) };
}

/** Returns the text with values in place of `$NAME`. */
export function substitute(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/\$\{?(\w+)\}?/g, (_, name) => values[name] ?? "");
}

/** Returns a function that reports whether .dockerignore excludes a path: the last matching line decides. */
export function ignoring(text: string): (path: string) => boolean {
  const rules = text.split("\n").map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => ({ keeps: line.startsWith("!"), pattern: patternOf(line.replace(/^!/, "")) }));
  return (path) => rules.reduce((ignored, { keeps, pattern }) => pattern.test(path) ? !keeps : ignored, false);
}

/** Reports whether a line matches a path or a folder above it. */
function patternOf(line: string): RegExp {
  const escaped = line.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replaceAll("**", "\0").replaceAll("*", "[^/]*").replaceAll("\0", ".*")}(/.*)?$`);
}
