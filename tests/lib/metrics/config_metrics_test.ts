/** Metrics of configuration files. */

import { assertEquals } from "@std/assert";
import { type ConfigFile, declareConfigMetrics } from "../../../lib/metrics/config_metrics.ts";
import { MetricRegistry } from "../../../lib/metrics/registry.ts";
import { Scrape } from "../../support/helpers.ts";

/** Whether the last reload succeeded, and the time of the last one that did. */
async function exposed(...files: ConfigFile[]): Promise<unknown[]> {
  const registry = new MetricRegistry<void>();
  declareConfigMetrics(registry, files);
  const scrape = new Scrape(await registry.expose("text"));
  const name = "ollama_exporter_config_last_reload_success";
  return [scrape.value(`${name}ful`), scrape.value(`${name}_timestamp_seconds`)];
}

Deno.test("declareConfigMetrics() exposes the state of all files together", async () => {
  assertEquals(await exposed({ isCurrent: true, loadedAtSeconds: 1.5 }), [1, 1.5]);
  assertEquals(await exposed({ isCurrent: false, loadedAtSeconds: 1.5 }), [0, 1.5]);
  const files = [{ isCurrent: true, loadedAtSeconds: 2 }, { isCurrent: false, loadedAtSeconds: 1 }];
  assertEquals(await exposed(...files), [0, 2]);
});

Deno.test("declareConfigMetrics() has no series without files", async () => {
  assertEquals(await exposed(), [undefined, undefined]);
});
