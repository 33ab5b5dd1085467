/** Series with a `client` label: what is counted, when they start at 0, and when they are removed. */

import { assertEquals } from "@std/assert";
import type { Metrics } from "../../../lib/metrics/request_metrics.ts";
import { type OpenRequest, OUTCOMES } from "../../../lib/observation.ts";
import { observationOf, stateOf } from "../../support/fixtures.ts";
import { metricsOf, scrape, scrapeOf } from "../../support/metrics_scrape.ts";
import { TestClock } from "../../support/test_clock.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
const REQUESTS = "ollama_client_requests_total";
const TOKENS = "ollama_client_tokens_total";
/** Series of a client: one for each outcome, and one for each direction. */
const SERIES = OUTCOMES.length + 2;

function openRequest(client: string | undefined): OpenRequest {
  return { api: "chat", model: "m", client, waiting: true };
}

/** The values of the label, each with its number of series. */
async function clientsOf(metrics: Metrics): Promise<Record<string, number>> {
  const { text } = await scrape(metrics);
  const counts: Record<string, number> = {};
  for (const [, client = ""] of text.matchAll(/^ollama_client_\w+\{.*client="([^"]*)"/gm)) {
    counts[client] = (counts[client] ?? 0) + 1;
  }
  return counts;
}

const COMMON = { unknown: SERIES, other: SERIES };

Deno.test("Metrics has no series of clients without a limit for them", async () => {
  const { text } = await scrapeOf([observationOf({ client: "alice" }), observationOf({})]);
  assertEquals(text.includes("ollama_client_"), false);
});

Deno.test("Metrics.observe() counts requests by client and outcome, and tokens by client and direction", async () => {
  const scrape = await scrapeOf([
    observationOf({ client: "alice", report: { promptTokens: 26, outputTokens: 5 } }),
    observationOf({ client: "alice", outcome: "client_closed", report: { outputTokens: 3 } }),
    observationOf({ client: "alice", status: 404, outcome: "client_error" }),
    observationOf({ client: "bob", api: "openai_chat", report: { promptTokens: 0, outputTokens: 7 } }),
    observationOf({ client: "mallory", status: 401, outcome: "client_error" }),
    observationOf({ client: "unknown", report: { promptTokens: 2 } }),
    // Neither inference nor tokens.
    observationOf({ client: "carol", api: undefined, route: "/api/tags" }),
    observationOf({
      client: "carol",
      api: undefined,
      route: "/api/pull",
      operation: "pull",
      report: { promptTokens: 9 },
    }),
    // A route that is not measured reports tokens, as with the model.
    observationOf({ client: "dave", api: undefined, route: "other", report: { promptTokens: 4 } }),
  ], { clientLimit: 50 });
  assertEquals(scrape.labelValues("client"), ["alice", "bob", "dave", "other", "unknown"]);
  const requests = (client: string, outcome: string): number | undefined => scrape.value(REQUESTS, { client, outcome });
  assertEquals([requests("alice", "ok"), requests("alice", "client_closed"), requests("alice", "client_error")], [
    1,
    1,
    1,
  ]);
  assertEquals([requests("bob", "ok"), requests("unknown", "ok"), requests("unknown", "client_error")], [1, 1, 1]);
  assertEquals([scrape.value(REQUESTS, { client: "dave" }), scrape.value(REQUESTS)], [0, 6]);
  const tokens = (client: string): (number | undefined)[] =>
    ["prompt", "output"].map((direction) => scrape.value(TOKENS, { client, direction }));
  assertEquals(["alice", "bob", "unknown", "dave"].map(tokens), [[26, 8], [0, 7], [2, 0], [4, 0]]);
});

Deno.test("Metrics.observe() counts the 51st client of 50 as `other`", async () => {
  const observations = Array.from({ length: 51 }, (_, index) => observationOf({ client: `c${index}` }));
  const metrics = metricsOf(observations, { clientLimit: 50 });
  const clients = await clientsOf(metrics);
  assertEquals([Object.keys(clients).length, clients["c49"], clients["c50"]], [52, SERIES, undefined]);
  const result = await scrape(metrics);
  assertEquals([result.value(REQUESTS, { client: "other" }), result.value(REQUESTS)], [1, 51]);
});

Deno.test("Metrics.expose() starts the series of a client whose first request is open at 0, so that increase() sees it", async () => {
  const openRequests = new Set<OpenRequest>();
  const metrics = metricsOf([], { clientLimit: 2, openRequests });
  assertEquals(await clientsOf(metrics), COMMON);
  const request = openRequest("alice");
  openRequests.add(request);
  const before = await scrape(metrics);
  assertEquals(before.value(REQUESTS, { client: "alice" }), 0);
  assertEquals(before.value(TOKENS, { client: "alice", direction: "output" }), 0);
  openRequests.delete(request);
  metrics.observe(observationOf({ client: "alice", report: { outputTokens: 5 } }));
  const after = await scrape(metrics);
  const increase = (name: string, labels: Record<string, string>): number =>
    (after.value(name, labels) ?? NaN) - (before.value(name, labels) ?? NaN);
  assertEquals(increase(REQUESTS, { client: "alice", outcome: "ok" }), 1);
  assertEquals(increase(TOKENS, { client: "alice", direction: "output" }), 5);
});

Deno.test("Metrics.expose() removes the zeros of a client whose request failed, and counts it as `unknown`", async () => {
  const openRequests = new Set<OpenRequest>();
  const metrics = metricsOf([], { clientLimit: 2, openRequests });
  const [first, second] = [openRequest("mallory"), openRequest("mallory")];
  openRequests.add(first).add(second).add(openRequest(undefined)).add(openRequest("unknown")).add(openRequest("other"));
  assertEquals(await clientsOf(metrics), { ...COMMON, mallory: SERIES });
  openRequests.delete(first);
  metrics.observe(observationOf({ client: "mallory", status: 401, outcome: "client_error" }));
  assertEquals(await clientsOf(metrics), { ...COMMON, mallory: SERIES }, "another request is open");
  openRequests.delete(second);
  metrics.observe(observationOf({ client: "mallory", outcome: "client_closed" }));
  const after = await scrape(metrics);
  assertEquals(after.labelValues("client"), ["other", "unknown"]);
  assertEquals(after.value(REQUESTS, { client: "unknown" }), 2);
  openRequests.add(first);
  assertEquals((await scrape(metrics)).value(REQUESTS, { client: "mallory" }), 0, "it starts again at 0");
});

Deno.test("Metrics.expose() has no more clients than the limit, those with open requests included", async () => {
  const openRequests = new Set<OpenRequest>();
  const metrics = metricsOf([observationOf({ client: "alice" })], { clientLimit: 3, openRequests });
  for (const client of ["b", "c", "d", "e", "alice"]) openRequests.add(openRequest(client));
  const clients = { ...COMMON, alice: SERIES, b: SERIES, c: SERIES };
  assertEquals(await clientsOf(metrics), clients);
  // A request that arrived earlier in the set does not displace the series that exist.
  const before = [...openRequests];
  openRequests.clear();
  for (const request of [openRequest("a"), ...before]) openRequests.add(request);
  assertEquals(await clientsOf(metrics), clients);
  // `d` succeeds before `c` does, and takes its place.
  metrics.observe(observationOf({ client: "d" }));
  assertEquals(await clientsOf(metrics), { ...COMMON, alice: SERIES, d: SERIES, b: SERIES });
  metrics.observe(observationOf({ client: "b" }));
  metrics.observe(observationOf({ client: "c" }));
  assertEquals(await clientsOf(metrics), { ...COMMON, alice: SERIES, d: SERIES, b: SERIES });
  assertEquals((await scrape(metrics)).value(REQUESTS, { client: "other" }), 1);
});

Deno.test("Metrics.observe() removes all series of a client whose label goes to another", async () => {
  using clock = new TestClock();
  const openRequests = new Set<OpenRequest>();
  const metrics = metricsOf([observationOf({ client: "old" })], { clientLimit: 1, openRequests });
  clock.now += DAY_MS;
  openRequests.add(openRequest("old"));
  metrics.observe(observationOf({ client: "new" }));
  assertEquals(await clientsOf(metrics), { ...COMMON, old: SERIES });
  openRequests.clear();
  metrics.observe(observationOf({ client: "new" }));
  assertEquals(await clientsOf(metrics), { ...COMMON, new: SERIES });
  clock.now += DAY_MS;
  metrics.observe(observationOf({ client: "newer" }));
  const text = await metrics.registry.expose("text", stateOf({}));
  assertEquals([text.includes('client="new"'), text.includes('client="newer"')], [false, true], "at once");
});

Deno.test("Metrics.observe() counts a client from 0 that takes the label of another", async () => {
  using clock = new TestClock();
  const metrics = metricsOf([observationOf({ client: "old" })], { clientLimit: 1 });
  metrics.observe(observationOf({ client: "new" }));
  clock.now += DAY_MS;
  metrics.observe(observationOf({ client: "new" }));
  const result = await scrape(metrics);
  assertEquals([result.value(REQUESTS, { client: "new" }), result.value(REQUESTS, { client: "other" })], [1, 1]);
});
