/** Metrics of the server's state: each exposition renders its own state and nothing else. */

import { assert, assertEquals } from "@std/assert";
import { LOADED_NAMES_LIMIT } from "../../../lib/metrics/model_labels.ts";
import { Metrics } from "../../../lib/metrics/request_metrics.ts";
import { declareServerMetrics } from "../../../lib/metrics/server_metrics.ts";
import type { InstalledModel, LoadedModel, Runner, ServerState } from "../../../lib/ollama/state.ts";
import { faultsOf } from "../../support/exposition.ts";
import { stateOf } from "../../support/fixtures.ts";
import { Scrape } from "../../support/helpers.ts";
import { TestClock } from "../../support/test_clock.ts";

const DETAILS: Runner = {
  digest: "a80c",
  family: "llama",
  format: "gguf",
  parameterSize: "3.2B",
  quantizationLevel: "Q4_K_M",
  contextTokens: 4096,
};

/** A loaded model with these fields. */
function loaded(fields: Partial<LoadedModel>): LoadedModel {
  return {
    name: "llama3.2:latest",
    sizeBytes: 3000,
    vramBytes: 2000,
    contextTokens: 4096,
    expiresAtSeconds: 1787306700.123,
    runners: [DETAILS],
    ...fields,
  };
}

function installed(name: string, sizeBytes: number | undefined): InstalledModel {
  return { name, sizeBytes };
}

/** Metrics with those of the server's state. */
function metricsOf(modelLimit = 200): Metrics {
  const metrics = new Metrics({ modelLimit, openRequests: new Set() });
  declareServerMetrics(metrics.registry, metrics.models);
  return metrics;
}

/** Exposes a state. */
async function scrape(fields: Partial<ServerState>, metrics = metricsOf()): Promise<Scrape> {
  const text = await metrics.expose("text", stateOf(fields));
  assertEquals(faultsOf(text), []);
  assertEquals(samples(await metrics.expose("openMetrics", stateOf(fields))), samples(text), "both formats are alike");
  return new Scrape(text);
}

function samples(text: string): string[] {
  return text.split("\n").filter((line) => /^\w/.test(line));
}

/** The series whose name matches after `ollama_`, without that prefix. */
function series({ text }: Scrape, name: RegExp): string[] {
  return samples(text).map((line) => line.replace(/^ollama_/, "")).filter((line) => name.test(line)).sort();
}

const INFO = 'loaded_model_info{model="llama3.2:latest",digest="a80c",family="llama",format="gguf",' +
  'parameter_size="3.2B",quantization_level="Q4_K_M"} 1';

Deno.test("declareServerMetrics() exposes the version, the loaded and the installed models", async () => {
  const state = await scrape({
    version: "0.33.0",
    loaded: [
      loaded({}),
      loaded({
        name: "me/other:7b",
        sizeBytes: 50,
        vramBytes: 0,
        contextTokens: 8192,
        runners: [{ ...DETAILS, digest: "b1" }],
      }),
    ],
    installed: [installed("llama3.2:latest", 1500), installed("qwen3:latest", 5000)],
  });
  assertEquals(series(state, /^(up|version|loaded|installed)/), [
    'installed_model_size_bytes{model="llama3.2:latest"} 1500',
    'installed_model_size_bytes{model="qwen3:latest"} 5000',
    "installed_models 2",
    'loaded_model_context_tokens{model="llama3.2:latest"} 4096',
    'loaded_model_context_tokens{model="me/other:7b"} 8192',
    'loaded_model_expiry_timestamp_seconds{model="llama3.2:latest"} 1787306700.123',
    'loaded_model_expiry_timestamp_seconds{model="me/other:7b"} 1787306700.123',
    INFO,
    INFO.replace("llama3.2:latest", "me/other:7b").replace("a80c", "b1"),
    'loaded_model_size_bytes{model="llama3.2:latest"} 3000',
    'loaded_model_size_bytes{model="me/other:7b"} 50',
    'loaded_model_vram_bytes{model="llama3.2:latest"} 2000',
    'loaded_model_vram_bytes{model="me/other:7b"} 0',
    "loaded_models 2",
    "up 1",
    'version_info{version="0.33.0"} 1',
  ]);
});

Deno.test("declareServerMetrics() exposes the success and the duration of each probe", async () => {
  const state = await scrape({
    probes: {
      version: { error: undefined, durationSeconds: 0.25 },
      ps: { error: "/api/ps: unexpected status 500", durationSeconds: 1 },
      tags: { error: undefined, durationSeconds: 0 },
    },
  });
  assertEquals(series(state, /^exporter_probe/), [
    'exporter_probe_duration_seconds{probe="ps"} 1',
    'exporter_probe_duration_seconds{probe="tags"} 0',
    'exporter_probe_duration_seconds{probe="version"} 0.25',
    'exporter_probe_success{probe="ps"} 0',
    'exporter_probe_success{probe="tags"} 1',
    'exporter_probe_success{probe="version"} 1',
  ]);
});

Deno.test("declareServerMetrics() has no series for what is not known", async () => {
  assertEquals(series(await scrape({}), /^(up|version|loaded|installed)/), ["up 0"]);
  assertEquals(series(await scrape({ loaded: [], installed: [] }), /^(loaded|installed)/), [
    "installed_models 0",
    "loaded_models 0",
  ]);
  const unknown = { sizeBytes: undefined, vramBytes: undefined, contextTokens: undefined, expiresAtSeconds: undefined };
  const state = await scrape({ loaded: [loaded(unknown)], installed: [installed("qwen3:latest", undefined)] });
  assertEquals(series(state, /^(loaded|installed)/), ["installed_models 1", INFO, "loaded_models 1"]);
});

Deno.test("declareServerMetrics() has an info series for each runner of a model, and equal ones once", async () => {
  const runners = [DETAILS, { ...DETAILS, digest: "b2" }, { ...DETAILS, digest: "b2" }];
  assertEquals(series(await scrape({ loaded: [loaded({ runners })] }), /^loaded_model_info/), [
    INFO,
    INFO.replace("a80c", "b2"),
  ]);
});

Deno.test("declareServerMetrics() has one series for all spellings of a model's name", async () => {
  const state = await scrape({
    loaded: [
      loaded({ name: "llama3.2" }),
      loaded({ name: "library/llama3.2:latest", contextTokens: 8192 }),
      loaded({ name: "registry.ollama.ai/library/LLAMA3.2:latest" }),
    ],
    installed: [installed("llama3.2", 1), installed("LLAMA3.2", 2)],
  });
  assertEquals(series(state, /^(loaded_model_[sci]|installed_model_)/), [
    'installed_model_size_bytes{model="llama3.2:latest"} 3',
    'loaded_model_context_tokens{model="llama3.2:latest"} 8192',
    INFO,
    'loaded_model_size_bytes{model="llama3.2:latest"} 9000',
  ]);
});

Deno.test("declareServerMetrics() labels a name that is not a model's as `unknown`", async () => {
  const state = await scrape({
    version: 'a"b\\c\nd',
    loaded: [loaded({ name: "x".repeat(1000) }), loaded({ name: 'evil"} 1\nollama_up 5' })],
  });
  assertEquals(state.labelValues("model"), ["unknown"]);
  assertEquals(state.labelValues("version"), ['a\\"b\\\\c\\nd']);
  assertEquals(state.value("ollama_up"), 1);
});

Deno.test("declareServerMetrics() names all loaded models, and sums the installed ones over the limit as `other`", async () => {
  const names = Array.from({ length: 50 }, (_, index) => `m${index}:latest`);
  const state = await scrape({
    loaded: names.map((name) => loaded({ name, runners: [{ ...DETAILS, digest: `digest of ${name}` }] })),
    installed: names.map((name) => installed(name, 3000)),
  }, metricsOf(3));
  assertEquals([state.value("ollama_loaded_models"), state.value("ollama_installed_models")], [50, 50]);
  for (const gauge of ["size_bytes", "vram_bytes", "context_tokens", "expiry_timestamp_seconds", "info"]) {
    const labels = series(state, new RegExp(`^loaded_model_${gauge}`)).map((line) => /model="(.*?)"/.exec(line)?.[1]);
    assertEquals(labels, names.toSorted(), gauge);
  }
  assertEquals(series(state, /^installed_model_size/), [
    ...names.slice(0, 3).map((name) => `installed_model_size_bytes{model="${name}"} 3000`),
    `installed_model_size_bytes{model="other"} ${47 * 3000}`,
  ]);
});

Deno.test("declareServerMetrics() sums loaded models beyond a limit as `other`, without maxima and details", async () => {
  const names = Array.from({ length: LOADED_NAMES_LIMIT + 2 }, (_, index) => `m${index}:latest`);
  const state = await scrape({ loaded: names.map((name) => loaded({ name })) }, metricsOf(3));
  assertEquals(state.value("ollama_loaded_model_size_bytes", { model: "other" }), 2 * 3000);
  assertEquals(state.value("ollama_loaded_model_size_bytes"), names.length * 3000);
  for (const name of ["context_tokens", "expiry_timestamp_seconds", "info"]) {
    assertEquals(series(state, new RegExp(`^loaded_model_${name}`)).length, LOADED_NAMES_LIMIT, name);
    assertEquals(state.value(`ollama_loaded_model_${name}`, { model: "other" }), undefined, name);
  }
});

Deno.test("declareServerMetrics() drops the series of models, versions and details that are gone", async () => {
  const metrics = metricsOf();
  await scrape({
    version: "0.33.0",
    loaded: [loaded({})],
    installed: [installed("llama3.2", 1), installed("qwen3", 1)],
  }, metrics);
  const after = await scrape({
    version: "0.40.1",
    loaded: [loaded({ name: "gemma:2b", runners: [{ ...DETAILS, quantizationLevel: "Q8_0" }] })],
    installed: [installed("gemma:2b", 7)],
  }, metrics);
  assertEquals(series(after, /^(loaded|installed).*model="(?!gemma:2b")/), []);
  assertEquals(after.value("ollama_installed_model_size_bytes", { model: "gemma:2b" }), 7);
  assertEquals(after.labelValues("version"), ["0.40.1"]);
  assertEquals(after.labelValues("quantization_level"), ["Q8_0"]);
});

Deno.test("MetricRegistry.expose() renders each state as a whole, whatever else is exposed meanwhile", async () => {
  // Every metric takes a slice of its own, so that expositions take turns.
  using _clock = new TestClock({ stepMs: 1000 });
  const metrics = metricsOf();
  const states = Array.from({ length: 12 }, (_, n) =>
    stateOf({
      version: String(n),
      loaded: Array.from({ length: n % 4 }, (_, index) =>
        loaded({
          name: `m${index}`,
          sizeBytes: n,
          vramBytes: n,
          contextTokens: n,
          expiresAtSeconds: n,
          runners: [{ ...DETAILS, digest: String(n) }],
        })),
      installed: Array.from({ length: n % 3 }, (_, index) => installed(`m${index}`, n)),
      probes: {
        version: { error: undefined, durationSeconds: n },
        ps: { error: undefined, durationSeconds: n },
        tags: { error: undefined, durationSeconds: n },
      },
    }));
  // Counters of models, which are not part of a state, stay.
  for (const state of states) await metrics.expose("text", state);
  const alone: string[] = [];
  for (const state of states) alone.push(await metrics.expose("text", state));
  const together = await Promise.all(states.map((state) => metrics.expose("text", state)));
  assertEquals(together, alone);
  assert(new Set(alone).size === states.length, "the states differ");
});
