/**
 * The table of models: those in memory, those with requests in flight, and those with requests in the last minutes.
 *
 * @module
 */

import { contextUse } from "./context.js";
import { byId, Table } from "./dom.js";
import { speed } from "./requests.js";
import { bytes, count, NO_VALUE, remaining, seconds, share } from "./units.js";

const NO_FIGURES = { requests: 0, failures: 0, tokensPerSecond: undefined, firstTokenP95: undefined, overflows: {} };
const NO_STATE = { inFlight: 0, waiting: 0, loaded: undefined };

/** The table of models. */
export class Models {
  #now = 0;
  #present = [];
  #figures = [];
  #ollama = { listsLoaded: false };
  #table = new Table(byId("models"), [
    { id: "name", title: "Model", of: ({ model, loaded }) => ({ text: model, exact: kindOf(loaded) }) },
    { id: "count", title: "Requests", isNumber: true, of: ({ requests }) => toned(count(requests), requests, "") },
    { id: "errors", title: "Errors", isNumber: true, of: errorsOf },
    { id: "speed", title: "Tokens/s", isNumber: true, of: ({ tokensPerSecond }) => speed(tokensPerSecond) },
    { id: "p95", title: "p95 first token", isNumber: true, of: ({ firstTokenP95 }) => seconds(firstTokenP95) },
    { id: "open", title: "In flight", isNumber: true, of: ({ inFlight }) => toned(count(inFlight), inFlight, "busy") },
    { id: "waiting", title: "Waiting", isNumber: true, of: ({ waiting }) => toned(count(waiting), waiting, "") },
    { id: "memory", title: "Memory", isNumber: true, of: ({ loaded }) => bytes(loaded?.sizeBytes) },
    { id: "gpu", title: "On GPU", isNumber: true, of: ({ loaded }) => gpuShare(loaded) },
    { id: "context", title: "Context", isNumber: true, of: ({ loaded }) => count(loaded?.contextTokens || undefined) },
    { id: "used", title: "Context used", isNumber: true, isOptional: true, hasNote: true, of: contextUse },
    { id: "expiry", title: "Unloads in", isNumber: true, of: ({ loaded }) => expiryOf(loaded, this.#now) },
  ], ({ model }) => model.toLowerCase());

  /** Replaces the current state. */
  present({ at, models, ollama }) {
    this.#now = at;
    this.#present = models;
    this.#ollama = ollama;
    this.#show();
  }

  /** Replaces the figures of the last minutes. */
  set figures(figures) {
    this.#figures = figures;
    this.#show();
  }

  #show() {
    const rows = new Map(this.#present.map((model) => [model.model.toLowerCase(), { ...NO_FIGURES, ...model }]));
    for (const figures of this.#figures) {
      const key = figures.model.toLowerCase();
      rows.set(key, { ...NO_STATE, ...rows.get(key), ...figures, ...rows.has(key) && { model: rows.get(key).model } });
    }
    const models = [...rows.values()].sort((a, b) => (a.model < b.model ? -1 : 1));
    const loaded = models.filter((model) => model.loaded !== undefined);
    const { listsLoaded, installedModels } = this.#ollama;
    this.#table.fill(models, models.length > 1 ? sumOfModels(models) : undefined);
    byId("models-total").textContent = [
      listsLoaded ? `${loaded.length} in memory` : "",
      installedModels === undefined ? "" : `${installedModels} installed`,
    ].filter(Boolean).join(", ");
    byId("models-empty").hidden = models.length > 0;
    byId("models-empty").textContent = listsLoaded
      ? "No models in memory: Ollama loads one when a request names it"
      : "Loaded models unknown: Ollama does not list them";
  }
}

/** The sums of all models. */
function sumOfModels(models) {
  const sum = (of) => models.reduce((sum, model) => sum + (of(model) ?? 0), 0);
  const isLoaded = models.some(({ loaded }) => loaded !== undefined);
  return {
    ...NO_FIGURES,
    model: "Total",
    requests: sum(({ requests }) => requests),
    failures: sum(({ failures }) => failures),
    inFlight: sum(({ inFlight }) => inFlight),
    waiting: sum(({ waiting }) => waiting),
    loaded: isLoaded
      ? { sizeBytes: sum(({ loaded }) => loaded?.sizeBytes), vramBytes: sum(({ loaded }) => loaded?.vramBytes) }
      : undefined,
  };
}

/** Mutes zeros, and gives other values a tone. */
function toned(figure, value, tone) {
  return { ...figure, tone: value === 0 ? "idle" : tone };
}

function errorsOf({ requests, failures }) {
  const { text, exact } = count(failures);
  return toned(
    { text, exact: failures === 0 ? exact : `${share(failures, requests).exact} of ${requests}` },
    failures,
    "failed",
  );
}

function kindOf(loaded) {
  return [loaded?.parameterSize, loaded?.quantization].filter(Boolean).join(", ");
}

function gpuShare(loaded) {
  if (loaded?.sizeBytes === undefined || loaded.vramBytes === undefined) return NO_VALUE;
  return { text: share(loaded.vramBytes, loaded.sizeBytes).text, exact: bytes(loaded.vramBytes).exact };
}

function expiryOf(loaded, now) {
  return remaining(loaded?.expiresAtSeconds, now / 1000);
}
