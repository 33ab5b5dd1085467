/** The document of the status page as served. browser_test.ts tests its behavior. */

import { assert, assertEquals, assertMatch, assertNotMatch, fail } from "@std/assert";
import { Metrics } from "../../../lib/metrics/request_metrics.ts";
import { declareServerMetrics } from "../../../lib/metrics/server_metrics.ts";
import { createPage } from "../../../lib/status/page.ts";
import { bytesOf, REPOSITORY } from "../../support/fixtures.ts";

/** Size that the page is held to: a change beyond it has to be worth it. */
const PAGE_BYTES = 50_000;

const HOMEPAGE = "https://example.com/exporter";
const DOCS = `${HOMEPAGE}/blob/v1.2.3/docs/`;

const page = createPage({ version: "1.2.3", homepage: HOMEPAGE, metricsPath: "/metrics" });

/** Targets of the links, each once. */
function linksOf(html: string): string[] {
  return [...new Set([...html.matchAll(/<a href="([^"]*)"/g)].map(([, href = ""]) => href))];
}

/** Returns the contents of an element. */
function inside(html: string, tag: string): string {
  return new RegExp(`<${tag}[^>]*>(.*?)</${tag}>`, "s").exec(html)?.[1] ?? fail(`There is a ${tag}`);
}

async function hashOf(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytesOf(text));
  return `'sha256-${btoa(String.fromCharCode(...new Uint8Array(digest)))}'`;
}

function policyOf(response: Response): Record<string, string> {
  const directives = (response.headers.get("content-security-policy") ?? "").split("; ");
  return Object.fromEntries(directives.map((directive) => directive.split(/ (.*)/s, 2)));
}

Deno.test("createPage() allows only its own style and script", async () => {
  const response = await page();
  const html = await response.text();
  assertEquals(policyOf(response), {
    "default-src": "'none'",
    "style-src": await hashOf(inside(html, "style")),
    "script-src": await hashOf(inside(html, "script")),
    "connect-src": "'self'",
    "img-src": "data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
  });
  assertEquals(response.headers.get("content-type"), "text/html; charset=utf-8");
  assertEquals(response.headers.get("x-content-type-options"), "nosniff");
  assertEquals(response.headers.get("referrer-policy"), "no-referrer");
});

Deno.test("createPage() returns a self-contained document", async () => {
  const html = (await (await page()).text()).replaceAll(/<a href="[^"]*">/g, "<a>");
  assertNotMatch(html.replace(/http:\/\/www\.w3\.org\/2000\/svg/g, ""), /https?:|url\(|@import/);
  assertNotMatch(html, /<link(?![^>]*rel="icon"\s+href="data:)|<script[^>]*src|<style[^>]*src/);
  assertNotMatch(inside(html, "script"), /^(import|export) /m);
  assertNotMatch(html, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function/);
});

Deno.test("createPage() links to the other admin endpoints relatively, so that it works under a path prefix", async () => {
  const html = await (await page()).text();
  const links = linksOf(html).filter((href) => !href.startsWith("https:"));
  assertEquals(links, ["../metrics", "healthy", "ready"]);
  assertMatch(html, /Ollama exporter <small>1\.2\.3<\/small>/);
});

Deno.test("createPage() links to the documentation of its version", async () => {
  const links = linksOf(await (await page()).text()).filter((href) => href.startsWith("https:"));
  assertEquals(links.toSorted(), [
    HOMEPAGE,
    ...["alerting.md", "alerting.md#ollamapromptstruncated", "metrics.md", "troubleshooting.md"].map((file) =>
      DOCS + file
    ),
  ]);
  assertMatch(Deno.readTextFileSync(new URL("docs/alerting.md", REPOSITORY)), /^## OllamaPromptsTruncated$/m);
});

Deno.test("createPage() leaves out comments and indentation", async () => {
  const html = await (await page()).text();
  assertEquals(html.match(/^(?:\s|\/[*\/]|\*(?! \{)).*|\n\n/gm), null);
  assert(html.length < PAGE_BYTES, `${html.length} bytes`);
});

Deno.test("createPage() names only metrics that there are", async () => {
  const html = await (await page()).text();
  const metrics = new Metrics({ modelLimit: 1, openRequests: new Set() });
  declareServerMetrics(metrics.registry, metrics.models);
  const declared = new Set(metrics.registry.declarations.map(({ name }) => name));
  const named = new Set(html.match(/\bollama_\w+/g));
  assert(named.size > 10);
  for (const name of named) assert(declared.has(name), name);
});

Deno.test("createPage() has a sentence for browsers without JavaScript, which see nothing else", async () => {
  const html = await (await page()).text();
  assertMatch(inside(html, "noscript"), /require JavaScript\..*href="\.\.\/metrics"/);
  assertMatch(html, /<main [^>]*hidden>/);
  assertNotMatch(html.replace(/<script.*<\/script>/s, ""), /Connecting/);
});

Deno.test("createPage() escapes values", async () => {
  const made = await createPage({ version: '"><script>$&', homepage: "https://a.test/<b>", metricsPath: "/m'<b>" })();
  const html = await made.text();
  assert(html.includes("<small>&#34;&#62;&#60;script&#62;$&#38;</small>"));
  assert(html.includes('href="../m&#39;&#60;b&#62;"'));
  assert(html.includes('href="https://a.test/&#60;b&#62;/blob/v&#34;&#62;&#60;script&#62;$&#38;/docs/metrics.md"'));
});
