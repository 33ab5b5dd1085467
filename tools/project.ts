/**
 * Where the project is published. Image, packages, chart, formula and manifests of a release are made from the
 * `homepage` in `deno.json`, whose account is a placeholder until the first release.
 *
 * @module
 */

import denoJson from "../deno.json" with { type: "json" };

/** Page of the repository. */
export const SOURCE_URL = denoJson.homepage;
/** Repository on GitHub. */
export const REPOSITORY = new URL(SOURCE_URL).pathname.slice(1);
/** Account on GitHub. */
export const ACCOUNT = REPOSITORY.slice(0, REPOSITORY.indexOf("/"));
/** Image, without a tag; names of images have no capitals. */
export const IMAGE = `ghcr.io/${REPOSITORY.toLowerCase()}`;
/** Where the Helm chart is pushed. */
export const CHARTS = `oci://ghcr.io/${ACCOUNT.toLowerCase()}/charts`;

/** Returns the URL of a file of a release. */
export function downloadUrl(version: string, file: string): string {
  return `${SOURCE_URL}/releases/download/v${version}/${file}`;
}
