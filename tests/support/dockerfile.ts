/**
 * As much of the format of Dockerfile and .dockerignore as ours use.
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

/** A stage: `FROM` and what follows. */
export interface Stage {
  /** After `AS`. */
  readonly name: string | undefined;
  readonly image: string;
  readonly instructions: readonly Instruction[];
}

/** Reads a Dockerfile. */
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

/** The values that `text` refers to by `$NAME`, put in. */
export function substitute(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/\$\{?(\w+)\}?/g, (_, name) => values[name] ?? "");
}

/** Makes the test whether .dockerignore keeps a path out of the build's context: the last line that fits counts. */
export function ignoring(text: string): (path: string) => boolean {
  const rules = text.split("\n").map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => ({ keeps: line.startsWith("!"), pattern: patternOf(line.replace(/^!/, "")) }));
  return (path) => rules.reduce((ignored, { keeps, pattern }) => pattern.test(path) ? !keeps : ignored, false);
}

/** A line fits a path and all that is under it. */
function patternOf(line: string): RegExp {
  const escaped = line.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replaceAll("**", "\0").replaceAll("*", "[^/]*").replaceAll("\0", ".*")}(/.*)?$`);
}
