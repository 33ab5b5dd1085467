/**
 * Where the project is published. Image, packages, chart, formula and manifests of a release are made from it.
 *
 * @module
 */

/** Account on GitHub. A placeholder, which the first release requires to be replaced, here and nowhere else. */
export const ACCOUNT = "OWNER";

/** Repository on GitHub. */
export const REPOSITORY = `${ACCOUNT}/ollama-exporter`;
/** Page of the repository. */
export const SOURCE_URL = `https://github.com/${REPOSITORY}`;
/** Image, without a tag; names of images have no capitals. */
export const IMAGE = `ghcr.io/${REPOSITORY.toLowerCase()}`;
/** Where the Helm chart is pushed. */
export const CHARTS = `oci://ghcr.io/${ACCOUNT.toLowerCase()}/charts`;

/** Returns the URL of a file of a release. */
export function downloadUrl(version: string, file: string): string {
  return `${SOURCE_URL}/releases/download/v${version}/${file}`;
}
