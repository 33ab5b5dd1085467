/**
 * Command lines of the bench's tasks.
 *
 * @module
 */

/** Flags by name: their values, empty for none, and their help. */
export type FlagTable = Readonly<Record<string, readonly [value: keyof typeof VALUES, help: string]>>;

const VALUES = {
  "": /^$/,
  "N": /^=[1-9]\d{0,11}$/,
  "A,B": /^=./,
  "NAME=PATH": /^=[\w.-]+=./,
};

/** Parsed flags of a command line. */
export class Flags {
  readonly #values = new Map<string, string[]>();

  /** @throws {Error} If an argument is unknown or invalid. */
  constructor(table: FlagTable, args: readonly string[]) {
    for (const arg of args) {
      const [, name = "", value = ""] = /^--([a-z-]+)(.*)$/s.exec(arg) ?? [];
      const flag = Object.hasOwn(table, name) ? table[name] : undefined;
      if (flag === undefined || !VALUES[flag[0]].test(value)) {
        throw new Error(`Unknown argument ${JSON.stringify(arg)}; see --help`);
      }
      this.#values.set(name, [...this.all(name), value.slice(1)]);
    }
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** Returns the values of a flag that can be repeated. */
  all(name: string): string[] {
    return this.#values.get(name) ?? [];
  }

  /** Returns the names in a list, or `undefined` without the flag. */
  names(name: string): string[] | undefined {
    return this.#values.get(name)?.flatMap((text) => text.split(","));
  }

  number(name: string, byDefault: number): number {
    return Number(this.all(name).at(-1) ?? byDefault);
  }
}

/** Returns the text of `--help`. */
export function helpOf(task: string, about: string, table: FlagTable): string {
  const rows = Object.entries({ ...table, help: ["", "show this"] })
    .map(([name, [value, help]]) => [`--${name}${value === "" ? "" : `=${value}`}`, help] as const);
  const width = Math.max(...rows.map(([flag]) => flag.length));
  const lines = rows.map(([flag, help]) => `  ${flag.padEnd(width)}  ${help}`);
  return [`Usage: deno task ${task} [flags]`, "", about, "", ...lines].join("\n");
}

/**
 * Returns the items with these names, or all, in their order.
 *
 * @throws {Error} If there is no item with such a name.
 */
export function chosen<T>(
  items: readonly T[],
  nameOf: (item: T) => string,
  names: readonly string[] | undefined,
  what: string,
): T[] {
  const known = items.map(nameOf);
  const unknown = names?.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new Error(`unknown ${what} ${JSON.stringify(unknown)}: want one of ${[...new Set(known)].join(", ")}`);
  }
  return items.filter((item) => names?.includes(nameOf(item)) ?? true);
}
