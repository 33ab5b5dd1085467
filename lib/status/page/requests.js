/**
 * The table of the last requests and its filter.
 *
 * @module
 */

import { byId, make, Table } from "./dom.js";
import { isFailure, OUTCOMES, reasonOf } from "./texts.js";
import { clock, count, NO_VALUE, perSecond, seconds } from "./units.js";

/** Maximum number of rows; narrow screens show fewer. */
const MAX_ROWS = 30;

/**
 * What can be filtered by: a value of each request, and the text of the choice that does not filter. Those with
 * `isOptional` are hidden while no request has a value.
 */
const FILTERS = [
  { all: "All results", title: "Result", of: ({ outcome }) => (isFailure(outcome) ? "Errors" : undefined) },
  { all: "All models", title: "Model", of: ({ model }) => model },
  { all: "All APIs", title: "API", of: ({ api }) => api },
  { all: "All clients", title: "Client", of: ({ client }) => client, isOptional: true },
];

/** A choice among the values of the listed requests. */
class Filter {
  #of;
  #all;
  #isOptional;
  #values;
  #select;

  /** @param onChange Called when another value is chosen. */
  constructor({ all, title, of, isOptional = false }, onChange) {
    this.#of = of;
    this.#isOptional = isOptional;
    this.#all = all;
    this.#select = make("select", { "aria-label": title });
    this.#select.addEventListener("change", onChange);
  }

  get element() {
    return this.#select;
  }

  get isActive() {
    return this.#select.value !== "";
  }

  accepts(request) {
    return !this.isActive || this.#of(request) === this.#select.value;
  }

  /** Offers the values of the requests. The chosen one remains, also if no request has it any more. */
  offer(requests) {
    const chosen = this.#select.value;
    const found = new Set([...requests.map(this.#of), chosen || undefined]);
    const values = [...found].filter((value) => value !== undefined).sort();
    if (this.#values === values.join("\n")) return;
    this.#values = values.join("\n");
    const options = values.map((value) => make("option", { value }, value));
    this.#select.replaceChildren(make("option", { value: "" }, this.#all), ...options);
    this.#select.value = chosen;
    this.#select.hidden = this.#isOptional && values.length === 0;
  }
}

/** The last requests. */
export class Requests {
  #last = [];
  #failures = [];
  #filters = FILTERS.map((filter) => new Filter(filter, () => this.#show()));
  #table = new Table(byId("requests"), [
    { id: "ended", title: "Ended", of: endOf },
    { id: "client", title: "Client", isOptional: true, of: ({ client }) => textOf(client) },
    { id: "api", title: "API", of: ({ api }) => textOf(api) },
    { id: "name", title: "Model", of: ({ model }) => textOf(model) },
    { id: "status", title: "Status", isNumber: true, of: ({ status }) => textOf(String(status)) },
    { id: "result", title: "Result", hasNote: true, of: resultOf },
    { id: "in", title: "Tokens in", isNumber: true, of: ({ promptTokens }) => count(promptTokens) },
    { id: "out", title: "Tokens out", isNumber: true, of: ({ outputTokens }) => count(outputTokens) },
    { id: "speed", title: "Tokens/s", isNumber: true, of: ({ tokensPerSecond }) => speed(tokensPerSecond) },
    { id: "first", title: "First token", isNumber: true, of: ({ firstTokenSeconds }) => seconds(firstTokenSeconds) },
    { id: "duration", title: "Duration", isNumber: true, of: ({ durationSeconds }) => seconds(durationSeconds) },
  ], ({ id }) => id);

  constructor() {
    byId("filters").append(...this.#filters.map(({ element }) => element));
    this.#show();
  }

  /** Replaces the last requests, newest first. */
  set last(requests) {
    this.#last = requests;
    this.#show();
  }

  /** Replaces the last failures, newest first, which may be older than the last requests. */
  set failures(requests) {
    this.#failures = requests;
    this.#show();
  }

  #show() {
    const oldest = this.#last.at(-1)?.id ?? 0;
    const known = [...this.#last, ...this.#failures.filter(({ id }) => id < oldest)];
    for (const filter of this.#filters) filter.offer(known);
    const isFiltered = this.#filters.some(({ isActive }) => isActive);
    const accepted = isFiltered
      ? known.filter((request) => this.#filters.every((filter) => filter.accepts(request)))
      : this.#last;
    this.#table.fill(accepted.slice(0, MAX_ROWS));
    byId("filters").hidden = known.length === 0;
    byId("requests-total").textContent = isFiltered ? `${accepted.length} of ${known.length}` : "";
    byId("requests-empty").hidden = accepted.length > 0;
    byId("requests-empty").textContent = known.length === 0
      ? "No requests yet. Point a client at the exporter in place of Ollama, and its requests appear here."
      : `None of the last ${known.length} requests matches the filter`;
  }
}

function textOf(text) {
  return text === undefined ? NO_VALUE : { text, exact: "" };
}

function endOf({ startedAt, durationSeconds }) {
  const { text, exact } = clock(startedAt + durationSeconds * 1000);
  return { text, exact: `${exact}; received ${clock(startedAt).exact}` };
}

function resultOf(request) {
  const [text, exact] = OUTCOMES[request.outcome];
  const tone = isFailure(request.outcome) ? "failed" : request.outcome;
  return { text, exact, tone, note: reasonOf(request) };
}

/** Formats tokens per second without the unit. */
export function speed(tokensPerSecond) {
  if (tokensPerSecond === undefined) return NO_VALUE;
  const { text, exact } = perSecond(tokensPerSecond, "tokens");
  return { text: text.replace("/s", ""), exact };
}
