/** Scrapes of a server that is slow or silent, and several scrapes at once. */

import { assert, assertEquals, fail } from "@std/assert";
import type { RequestInfo } from "../../../lib/http.ts";
import { Metrics } from "../../../lib/metrics/request_metrics.ts";
import { createHandlers } from "../../../lib/web/handlers.ts";
import type { Status } from "../../../lib/status/status.ts";
import { AskedOllama, hanging, listing } from "../../support/asked_ollama.ts";
import { startFakeOllama } from "../../fake_ollama/mod.ts";
import { random, turn } from "../../support/fixtures.ts";
import { PATIENCE_MS, Scrape, startExporter, until } from "../../support/helpers.ts";

const HOUR_MS = 3_600_000;
/** What a scrape may take beside the time for which it waits on purpose. Machines are busy. */
const SLACK_SECONDS = 8;

/** A scrape by a scraper that waits no longer than so many seconds, and the seconds that it took. */
async function timed(url: string, scraperTimeout?: string): Promise<{ scrape: Scrape; seconds: number }> {
  const headers: HeadersInit = scraperTimeout === undefined
    ? {}
    : { "x-prometheus-scrape-timeout-seconds": scraperTimeout };
  const start = performance.now();
  const scrape = new Scrape(await (await fetch(`${url}/metrics`, { headers })).text());
  return { scrape, seconds: (performance.now() - start) / 1000 };
}

/** What the probes of version, ps and tags say of themselves. */
function successes(scrape: Scrape): (number | undefined)[] {
  return ["version", "ps", "tags"].map((probe) => scrape.value("ollama_exporter_probe_success", { probe }));
}

Deno.test("Ollama.refresh() delays a scrape by no more than the probe timeout while /api/ps hangs, and tells the rest", async () => {
  await using fake = await startFakeOllama({ psProbe: "hang" });
  await using exporter = startExporter(fake, { probeTimeoutMs: 1000 });
  const { scrape, seconds } = await timed(exporter.url);
  assert(seconds >= 0.9 && seconds < 1 + SLACK_SECONDS, `${seconds} s`);
  assertEquals(successes(scrape), [1, 0, 1]);
  assertEquals(scrape.value("ollama_up"), 1);
  assertEquals(scrape.value("ollama_loaded_models"), undefined);
  assertEquals(scrape.value("ollama_installed_models"), 3);
  assert((scrape.value("ollama_exporter_probe_duration_seconds", { probe: "ps" }) ?? 0) >= 0.9);
  // Nobody waits for the answer any more.
  await fake.waitForAbort(await fake.waitForRequest(({ path }) => path === "/api/ps"));
});

for (const path of ["/api/version", "/api/ps", "/api/tags"]) {
  Deno.test(`Ollama.refresh() ends in time when the answer to ${path} stops in its middle`, async () => {
    await using fake = await startFakeOllama({
      script: async (request, connection) => {
        if (request.path !== path) return;
        await connection.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"version":"0.33.0","models":[');
        return await connection.sleep(Infinity).then(() => true);
      },
    });
    await using exporter = startExporter(fake, { probeTimeoutMs: 1000 });
    const { scrape, seconds } = await timed(exporter.url);
    assert(seconds < 1 + SLACK_SECONDS, `${seconds} s`);
    assertEquals(successes(scrape).filter((success) => success === 0).length, 1);
    assertEquals(scrape.value("ollama_up"), path === "/api/version" ? 0 : 1);
  });
}

Deno.test("createHandlers() ends probes before the scraper's own timeout, where that is less than the configured one", async () => {
  await using fake = await startFakeOllama({ psProbe: "hang" });
  await using exporter = startExporter(fake, { probeTimeoutMs: PATIENCE_MS });
  // Half a second is left for everything else; the probes have a tenth of a second at least.
  for (const [scraperTimeout, least] of [["1.2", 0.65], ["0.3", 0.09], ["0.0001", 0.09]] as const) {
    const { scrape, seconds } = await timed(exporter.url, scraperTimeout);
    assertEquals(scrape.value("ollama_exporter_probe_success", { probe: "ps" }), 0);
    const took = scrape.value("ollama_exporter_probe_duration_seconds", { probe: "ps" }) ?? 0;
    assert(took >= least && seconds < SLACK_SECONDS, `${scraperTimeout}: ${took} s of ${seconds} s`);
  }
});

Deno.test("createHandlers() goes by the configured timeout where the scraper's is longer, or none at all", async () => {
  await using fake = await startFakeOllama({ psProbe: "hang" });
  await using exporter = startExporter(fake, { probeTimeoutMs: 300 });
  for (const scraperTimeout of ["10", "soon"]) {
    const { scrape, seconds } = await timed(exporter.url, scraperTimeout);
    assertEquals(successes(scrape).at(1), 0, scraperTimeout);
    const took = scrape.value("ollama_exporter_probe_duration_seconds", { probe: "ps" }) ?? 0;
    assert(took >= 0.25 && seconds < 0.3 + SLACK_SECONDS, `${scraperTimeout}: ${took} s of ${seconds} s`);
  }
});

/** Scrapers' timeouts, and what they leave for the probes in milliseconds. */
const LIMITS: [string | undefined, number][] = [
  ["10", 9500],
  ["1.2", 700],
  ["0.6", 100],
  ["0.3", 100],
  ["0.0001", 100],
  ["1e9", 1e12 - 500],
  ...[undefined, "0", "-1", "", "soon", "NaN", "Infinity", "1, 2"].map((text): [string | undefined, number] => [
    text,
    Infinity,
  ]),
];

Deno.test("createHandlers() leaves half a second of the scraper's timeout for everything but the probes", async () => {
  using asked = new AskedOllama();
  const limits: number[] = [];
  const refresh = asked.ollama.refresh.bind(asked.ollama);
  asked.ollama.refresh = (limitMs = Infinity) => {
    limits.push(limitMs);
    return refresh(limitMs);
  };
  const metrics = new Metrics({ modelLimit: 1, openRequests: new Set() });
  const { admin } = createHandlers({
    metrics,
    metricsPath: "/metrics",
    ollama: asked.ollama,
    status: {} as Status,
    proxy: () => fail(),
    allowedHosts: [],
    internalError: (error) => fail(String(error)),
  });
  for (const [scraperTimeout, limitMs] of LIMITS) {
    const headers: HeadersInit = scraperTimeout === undefined
      ? {}
      : { "X-Prometheus-Scrape-Timeout-Seconds": scraperTimeout };
    const response = await admin(new Request("http://localhost/metrics", { headers }), {} as RequestInfo);
    assertEquals([response.status, limits.pop()], [200, limitMs], scraperTimeout);
  }
});

Deno.test("Ollama.refresh() asks once for two scrapes at once", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  fake.behaviour.script = async ({ path }) => {
    if (path === "/api/ps") await until(() => exporter.proxied === 2, "both scrapes have come");
  };
  const scrapes = await Promise.all([exporter.scrape(), exporter.scrape()]);
  assertEquals(fake.requests.map(({ path }) => path).sort(), ["/api/ps", "/api/tags", "/api/version"]);
  for (const scrape of scrapes) assertEquals(successes(scrape), [1, 1, 1]);
  fake.behaviour.script = undefined;
  await exporter.scrape();
  assertEquals(fake.requestCount, 6);
});

Deno.test("Ollama.refresh() asks anew for a scrape that cannot wait for the answers under way", async () => {
  const gate = Promise.withResolvers<Response>();
  using asked = new AskedOllama({ ps: (signal) => Promise.race([gate.promise, hanging(signal)]) });
  const first = asked.scrape(60_000);
  assertEquals(successes(await asked.scrape(100)), [1, 0, 1]);
  assertEquals(asked.asked.length, 6);
  // One with as much time or more shares them; the first is under way still.
  const third = asked.scrape(61_000);
  assertEquals(asked.asked.length, 6);
  gate.resolve(Response.json({ models: [] }));
  assertEquals(successes(await first), [1, 1, 1]);
  assertEquals(successes(await third), [1, 1, 1]);
  asked.answers.ps = listing();
  await asked.scrape();
  assertEquals(asked.asked.length, 9);
});

/** What the server says when it is asked for the n-th time: as many models as that says, and `n` wherever it can be. */
function momentOf(n: number): { version: string; models: unknown[] } {
  const model = { size: n, size_vram: n, context_length: n, digest: String(n) };
  return { version: String(n), models: Array.from({ length: 1 + n % 4 }, (_, i) => ({ ...model, name: `m${i}` })) };
}

Deno.test("Ollama.refresh() does not mix what it was told for scrapes at once (seed 7)", async () => {
  const next = random(7);
  const turns = async (bound: number) => {
    for (let left = Math.floor(next() * bound); left > 0; left--) await turn();
  };
  let times = 0;
  const late = async (n: number): Promise<Response> => {
    await turns(4);
    return Response.json(momentOf(n));
  };
  using asked = new AskedOllama({
    // It is asked first.
    version: () => late(++times),
    ps: () => late(times),
    tags: () => late(times),
  }, { timeoutMs: HOUR_MS });
  const scrapes: Promise<Scrape>[] = [];
  for (let round = 0; round < 400; round++) {
    // Less time each: none of them shares another's probes.
    scrapes.push(asked.scrape(HOUR_MS - 1000 * round));
    await turns(3);
  }
  for (const scrape of await Promise.all(scrapes)) {
    const [version = ""] = scrape.labelValues("version");
    assertEquals(scrape.labelValues("digest"), [version]);
    const values = scrape.text.match(/(?<=^ollama_(loaded|installed)_model_(size|vram|context)_\w+{.*} )\d+/gm) ?? [];
    const count = 1 + Number(version) % 4;
    assertEquals(values, Array(4 * count).fill(version));
    assertEquals([scrape.value("ollama_loaded_models"), scrape.value("ollama_installed_models")], [count, count]);
  }
  assertEquals(times, 400);
});

Deno.test("Ollama.refresh() follows a server that falls ill and gets well", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  const well = await exporter.scrape();
  fake.behaviour.versionProbe = { status: 500 };
  const ill = await exporter.scrape();
  assertEquals([ill.value("ollama_up"), ill.value("ollama_loaded_models")], [0, 1]);
  fake.behaviour.psProbe = "invalid_json";
  fake.behaviour.tagsProbe = { status: 404, body: "404 page not found" };
  assertEquals(successes(await exporter.scrape()), [0, 0, 0]);
  fake.reset();
  const back = await exporter.scrape();
  // A model that is in use expires later and later.
  const state = ({ text }: Scrape) => text.match(/^ollama_(up|version|installed|loaded_models|loaded_model_[sv]).*$/gm);
  assertEquals(state(back), state(well));
});
