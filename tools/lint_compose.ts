/**
 * Validates the Compose files in deploy/compose/ against the schema of Compose. Prints one finding per line.
 *
 *     deno run --no-config --lock=tools/lint_compose.lock --frozen --allow-read --allow-env tools/lint_compose.ts
 *
 * Its package is not in deno.json, because `deno compile` would include it in the executable.
 *
 * @module
 */

/** Linter with the schema of Compose, locked by tools/lint_compose.lock and only fetched by runs of this tool. */
const DCLINT = "npm:dclint@3.1.0";

/** Style rules of dclint, which are turned off. */
const STYLE = [
  ...["no-build-and-image", "require-quotes-in-ports", "service-keys-order", "services-alphabetical-order"],
  ...["service-ports-alphabetical-order", "service-dependencies-alphabetical-order", "top-level-properties-order"],
];

const FOLDER = "deploy/compose";

/** Returns the Compose files; the folder has other YAML files, too. */
function composeFiles(): string[] {
  return [...Deno.readDirSync(FOLDER)].map(({ name }) => name)
    .filter((name) => /^compose.*\.ya?ml$/.test(name)).sort().map((name) => `${FOLDER}/${name}`);
}

if (import.meta.main) {
  const { DCLinter } = await import(DCLINT);
  const linter = new DCLinter({ rules: Object.fromEntries(STYLE.map((rule) => [rule, 0])) });
  const files = composeFiles();
  const results: { filePath: string; messages: { line: number; message: string }[] }[] = linter.lintFiles(files, false);
  const findings = results.flatMap(({ filePath, messages }) =>
    messages.map(({ line, message }) => `${filePath}:${line}: ${message}`)
  );
  const lines = [...findings, `${files.length} files, ${findings.length} findings`];
  await Deno.stdout.write(new TextEncoder().encode(`${lines.join("\n")}\n`));
  Deno.exitCode = findings.length === 0 ? 0 : 1;
}
