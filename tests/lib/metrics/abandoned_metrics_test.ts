/** What is counted of streams whose clients disconnected. stories/abandoned_test.ts has the same over sockets. */

import { assertEquals } from "@std/assert";
import { APIS, type Observation, OUTCOMES } from "../../../lib/observation.ts";
import { observationOf } from "../../support/fixtures.ts";
import { API_LABELS, scrapeOf } from "../../support/metrics_scrape.ts";

const ABANDONED = {
  outcome: "client_closed",
  durationSeconds: 3,
  firstOutputSeconds: 0.5,
  outputMessages: 7,
  requestedModel: "llama3.2",
  report: { model: "llama3.2" },
} as const;

/** Messages and seconds that are counted of observations. */
async function countedOf(...observations: Observation[]): Promise<(number | undefined)[]> {
  const scrape = await scrapeOf([observationOf({ report: { model: "llama3.2" } }), ...observations]);
  return ["ollama_abandoned_output_messages_total", "ollama_abandoned_seconds_total"].map((name) =>
    scrape.value(name, API_LABELS)
  );
}

Deno.test("AbandonedMetrics sums messages, and seconds from the first of them", async () => {
  assertEquals(await countedOf(), [0, 0]);
  const short = { ...ABANDONED, durationSeconds: 0.75, outputMessages: 1 };
  assertEquals(await countedOf(observationOf(ABANDONED), observationOf(short)), [8, 2.75]);
});

Deno.test("AbandonedMetrics counts nothing before output was forwarded, and nothing but abandoned streams", async () => {
  const others: Partial<Observation>[] = [
    { firstOutputSeconds: undefined, outputMessages: 0 },
    // The output came with the disconnect.
    { outputMessages: 0 },
    { firstOutputSeconds: undefined, outputMessages: undefined },
    ...OUTCOMES.filter((outcome) => outcome !== "client_closed").map((outcome) => ({ outcome })),
  ];
  for (const other of others) {
    assertEquals(await countedOf(observationOf({ ...ABANDONED, ...other })), [0, 0], JSON.stringify(other));
  }
});

Deno.test("AbandonedMetrics keeps abandoned output out of the token counters", async () => {
  const scrape = await scrapeOf([observationOf(ABANDONED)]);
  for (const name of ["ollama_tokens_generated_total", "ollama_request_generated_tokens_count"]) {
    assertEquals(scrape.value(name), 0, name);
  }
});

Deno.test("AbandonedMetrics has no series for APIs without output", async () => {
  const scrape = await scrapeOf(APIS.map((api) => observationOf({ api, report: { model: "llama3.2" } })));
  const apis = APIS.filter((api) => scrape.value("ollama_abandoned_output_messages_total", { api }) !== undefined);
  assertEquals(apis.toSorted(), [
    "anthropic_messages",
    "chat",
    "generate",
    "openai_chat",
    "openai_completions",
    "openai_responses",
  ]);
});
