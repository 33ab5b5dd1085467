/**
 * Metrics of the server's state, computed from the {@linkcode ServerState} of each scrape.
 *
 * @module
 */

import { OTHER_MODEL } from "../model_name.ts";
import { PROBE_ERRORS, type ProbeError } from "../ollama/probes.ts";
import { type LoadedModel, type Probe, PROBES, type ServerState } from "../ollama/state.ts";
import type { ModelLabels } from "./model_labels.ts";
import type { MetricRegistry, Sample } from "./registry.ts";

const INFO_LABELS = ["digest", "family", "format", "parameter_size", "quantization_level"] as const;
type InfoLabel = typeof INFO_LABELS[number];
type Registry = MetricRegistry<ServerState>;

/**
 * Declares the metrics of the server's state. Failed probes leave their metrics without series.
 *
 * @param models Has the models of each state before it is rendered.
 */
export function declareServerMetrics(registry: Registry, models: ModelLabels): void {
  declareVersion(registry);
  declareLoadedModels(registry, models);
  declareInstalledModels(registry, models);
  declareProbes(registry);
}

function declareVersion(registry: Registry): void {
  registry.gauge(
    "ollama_up",
    "Whether the last /api/version request succeeded.",
    [],
    ({ version }) => [[{}, version === undefined ? 0 : 1]],
  );
  registry.gauge(
    "ollama_version_info",
    "A metric with a constant '1' value labeled by the Ollama version.",
    ["version"],
    ({ version }) => version === undefined ? [] : [[{ version }, 1]],
  );
}

function declareLoadedModels(registry: Registry, models: ModelLabels): void {
  const gauge = (
    name: string,
    help: string,
    read: (model: LoadedModel) => number | undefined,
    merge: (values: Iterable<Value>) => Sample<"model">[],
  ): void => {
    registry.gauge(
      name,
      help,
      ["model"],
      ({ loaded = [] }) => merge(loaded.map((model) => [models.loadedName(model.name), read(model)])),
    );
  };
  registry.gauge("ollama_loaded_models", "Number of models in memory.", [], ({ loaded }) => count(loaded));
  gauge(
    "ollama_loaded_model_size_bytes",
    "Memory used by a loaded model on GPUs and CPUs.",
    ({ sizeBytes }) => sizeBytes,
    sums,
  );
  gauge("ollama_loaded_model_vram_bytes", "Memory used by a loaded model on GPUs.", ({ vramBytes }) => vramBytes, sums);
  gauge(
    "ollama_loaded_model_context_tokens",
    "Context length with which a model was loaded.",
    ({ contextTokens }) => contextTokens,
    maxima,
  );
  gauge(
    "ollama_loaded_model_expiry_timestamp_seconds",
    "Unix time at which a loaded model is unloaded if idle; centuries ahead if it is kept loaded.",
    ({ expiresAtSeconds }) => expiresAtSeconds,
    maxima,
  );
  registry.gauge(
    "ollama_loaded_model_info",
    "A metric with a constant '1' value labeled by the details of a loaded model.",
    ["model", ...INFO_LABELS],
    ({ loaded = [] }) => loaded.flatMap((model) => infos(models.loadedName(model.name), model)),
  );
}

function declareInstalledModels(registry: Registry, models: ModelLabels): void {
  registry.gauge("ollama_installed_models", "Number of models on disk.", [], ({ installed }) => count(installed));
  registry.gauge(
    "ollama_installed_model_size_bytes",
    "Size of an installed model on disk. Layers shared by models are included in each.",
    ["model"],
    ({ installed = [] }) => sums(installed.map(({ name, sizeBytes }) => [models.label(name), sizeBytes])),
  );
}

function declareProbes(registry: Registry): void {
  registry.gauge(
    "ollama_exporter_probe_success",
    "Whether the last probe of a status endpoint succeeded.",
    ["probe"],
    ({ probes }) => Object.entries(probes).map(([probe, { error }]) => [{ probe }, error === undefined ? 1 : 0]),
  );
  registry.gauge(
    "ollama_exporter_probe_duration_seconds",
    "Duration of the last probe of a status endpoint.",
    ["probe"],
    ({ probes }) => Object.entries(probes).map(([probe, { durationSeconds }]) => [{ probe }, durationSeconds]),
  );
}

/** Declares the counter of failed probes, with every reason at 0, and returns the function that counts one. */
export function declareProbeErrors(registry: Registry): (probe: Probe, reason: ProbeError) => void {
  const errors = registry.counter(
    "ollama_exporter_probe_errors_total",
    "Total number of failed probes of a status endpoint.",
    "probe",
    "reason",
  );
  for (const probe of PROBES) {
    for (const reason of PROBE_ERRORS) errors.start({ probe, reason });
  }
  return (probe, reason) => errors.inc({ probe, reason });
}

/** A value by its model label. Models may share a label: spellings of one name, and all models over the limit. */
type Value = readonly [label: string, value: number | undefined];

function sums(values: Iterable<Value>): Sample<"model">[] {
  return merged(values, (a, b) => a + b);
}

/** Takes the maximum of each label, except `other`: a maximum of different models means nothing. */
function maxima(values: Iterable<Value>): Sample<"model">[] {
  return merged(values, Math.max).filter(([{ model }]) => model !== OTHER_MODEL);
}

function merged(values: Iterable<Value>, merge: (a: number, b: number) => number): Sample<"model">[] {
  const byLabel = new Map<string, number>();
  for (const [label, value] of values) {
    if (value === undefined) continue;
    const other = byLabel.get(label);
    byLabel.set(label, other === undefined ? value : merge(other, value));
  }
  return [...byLabel].map(([model, value]) => [{ model }, value]);
}

/** Returns a series for each runner of a model. Equal ones are one series; models over the limit have none. */
function infos(model: string, { runners }: LoadedModel): Sample<"model" | InfoLabel>[] {
  if (model === OTHER_MODEL) return [];
  return runners.map(({ digest, family, format, parameterSize, quantizationLevel }) => [
    { model, digest, family, format, parameter_size: parameterSize, quantization_level: quantizationLevel },
    1,
  ]);
}

function count(models: readonly unknown[] | undefined): Sample<never>[] {
  return models === undefined ? [] : [[{}, models.length]];
}
