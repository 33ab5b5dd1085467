/**
 * Kubernetes manifests, and their validation by kubernetes-validate and the types of the Prometheus operator.
 *
 * @module
 */

import { parse } from "@std/yaml/parse";
import { program } from "../../tools/programs.ts";
import { run } from "./deployment.ts";
import { TemporaryFolder } from "./temporary_folder.ts";

/** A Kubernetes resource; missing members are `undefined`. */
// deno-lint-ignore no-explicit-any -- each member would need a type that says nothing.
export type Manifest = any;

/** Parses the documents of a YAML file. */
export function parseManifests(text: string): Manifest[] {
  return text.split(/^---$/m).map((document) => parse(document)).filter((manifest) => manifest !== null);
}

/** Returns the resource of a kind. */
export function manifestOf(manifests: readonly Manifest[], kind: string): Manifest {
  const found = manifests.filter((manifest) => manifest.kind === kind);
  if (found.length !== 1) throw new Error(`${found.length} resources of the kind ${kind}`);
  return found[0];
}

/** Returns what is wrong with manifests: members that their schemas do not have or that have other types. */
export async function problemsOf(text: string): Promise<string> {
  using folder = new TemporaryFolder();
  const path = folder.write("manifests.yaml", text);
  const validated = await run(await program("kubernetes-validate"), ["--strict", "--quiet", "--no-warn", path]);
  const monitors = await run("sh", ["-c", 'exec "$0" < "$1"', await program("monitors"), path]);
  return validated.stdout + validated.stderr + monitors.stderr;
}
