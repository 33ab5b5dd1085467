/**
 * The HTML document of the status page: a single file with inline style and script, which requests only its events.
 *
 * The content security policy allows style and script by their hashes and nothing else.
 *
 * @module
 */

import style from "./page/page.css" with { type: "text" };
import markup from "./page/page.html" with { type: "text" };
import dom from "./page/dom.js" with { type: "text" };
import link from "./page/link.js" with { type: "text" };
import main from "./page/main.js" with { type: "text" };
import context from "./page/context.js" with { type: "text" };
import models from "./page/models.js" with { type: "text" };
import plot from "./page/plot.js" with { type: "text" };
import requests from "./page/requests.js" with { type: "text" };
import texts from "./page/texts.js" with { type: "text" };
import units from "./page/units.js" with { type: "text" };
import view from "./page/view.js" with { type: "text" };

/** Modules of the script, each after its dependencies. */
const MODULES = [units, texts, dom, plot, requests, context, models, view, link, main];

/** Options of {@linkcode createPage}. */
interface PageOptions {
  /** Version of the exporter. */
  readonly version: string;
  /** Page of the project on GitHub. */
  readonly homepage: string;
  readonly metricsPath: string;
}

/** Creates a function that responds with the page. It is composed once, at the first request. */
export function createPage(options: PageOptions): () => Promise<Response> {
  let page: Promise<{ html: string; headers: Record<string, string> }> | undefined;
  return async () => {
    const { html, headers } = await (page ??= compose(options));
    return new Response(html, { headers });
  };
}

async function compose(options: PageOptions): Promise<{ html: string; headers: Record<string, string> }> {
  const script = compact(MODULES.map(withoutModuleSyntax).join("\n"));
  const sheet = compact(style).replace(/([{},:;])\s+/g, "$1");
  const values: Record<string, string> = {
    version: escaped(options.version),
    homepage: escaped(options.homepage),
    // Of the same release, since what it says may have changed in the next.
    docs: escaped(`${options.homepage}/blob/v${options.version}/docs`),
    metricsPath: escaped(options.metricsPath),
  };
  const html = compact(markup)
    .replace(/\{\{ ?(\w+) ?\}\}/g, (_, name) => values[name] ?? "")
    .replace('<link rel="stylesheet" href="page.css">', () => `<style>${sheet}</style>`)
    .replace('<script type="module" src="main.js"></script>', () => `<script type="module">${script}</script>`);
  const policy = {
    "default-src": "'none'",
    "style-src": await hash(sheet),
    "script-src": await hash(script),
    "connect-src": "'self'",
    // For the inline icon.
    "img-src": "data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
  };
  return {
    html,
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": Object.entries(policy).map((directive) => directive.join(" ")).join("; "),
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "cross-origin-opener-policy": "same-origin",
      "cache-control": "no-cache",
    },
  };
}

/** Strips imports and exports: the modules are concatenated into one scope. */
function withoutModuleSyntax(module: string): string {
  return module.replace(/^import [^;]*;\n/gm, "").replace(/^export /gm, "");
}

/** Strips comments that have lines of their own, indentation and empty lines. No text of the page spans lines. */
function compact(source: string): string {
  return source.replace(/^\s*\/\*.*?\*\/\n/gms, "").replace(/^\s*\/\/.*\n/gm, "").replace(/^\s+/gm, "");
}

async function hash(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return `'sha256-${btoa(String.fromCharCode(...new Uint8Array(digest)))}'`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
