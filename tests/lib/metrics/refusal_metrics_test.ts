/** The metric of refused requests. */

import { assertEquals } from "@std/assert";
import { declareRefusals, REFUSALS } from "../../../lib/metrics/refusal_metrics.ts";
import { MetricRegistry } from "../../../lib/metrics/registry.ts";
import type { ServerState } from "../../../lib/ollama/state.ts";
import { Scrape } from "../../support/helpers.ts";

const NAME = "ollama_exporter_refused_requests_total";

Deno.test("declareRefusals() exposes every reason from the start, and counts by reason", async () => {
  const registry = new MetricRegistry<ServerState>();
  const count = declareRefusals(registry);
  const values = async (): Promise<(number | undefined)[]> => {
    const scrape = new Scrape(await registry.expose("text", { probes: {} } as ServerState));
    return REFUSALS.map((reason) => scrape.value(NAME, { reason }));
  };
  assertEquals(await values(), REFUSALS.map(() => 0));
  for (const [index, reason] of REFUSALS.entries()) for (let i = 0; i <= index; i++) count(reason);
  assertEquals(await values(), REFUSALS.map((_, index) => index + 1));
});
