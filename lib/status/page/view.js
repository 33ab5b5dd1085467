/**
 * Shows the data of the events.
 *
 * @module
 */

import { byId, keyed, make, show, Table } from "./dom.js";
import { Plot } from "./plot.js";
import { bytes, clock, count, NO_VALUE, perSecond, remaining, seconds, share } from "./units.js";

/** Title and description of each phase, in the order of a request. */
const PHASES = {
  load: ["Queueing and loading", "Until a runner was ready: waiting in Ollama's queue and loading the model"],
  wait: ["Waiting for a slot", "The model was loaded, but all its slots were busy"],
  prompt: ["Prompt evaluation", "Evaluating the prompt"],
  firstToken: ["Before the first token", "Streams of APIs that do not report the three phases above separately"],
  output: ["Generation", "Generating the output"],
  other: ["Unattributed", "Responses that do not report durations"],
};

/** Description of each value of the label `outcome`. */
const OUTCOMES = {
  ok: "Complete response",
  client_error: "Status 400 to 499",
  server_error: "Status 500 or above from Ollama",
  stream_error: "Error message inside a stream",
  incomplete: "Stream ended without its final message",
  client_closed: "Client disconnected before the response was complete",
  upstream_unreachable: "Connection to Ollama failed before the response",
  upstream_broken: "Connection to Ollama failed during the response",
};

/** Maximum number of marks for open requests. */
const MAX_MARKS = 60;

const TOKENS = (value) => perSecond(value, "tokens");

/** The figures, plots and tables of the page. */
export class View {
  #plots = {
    outputTokens: new Plot(byId("plot-output"), { unit: TOKENS, isLog: false }),
    promptTokens: new Plot(byId("plot-prompt"), { unit: TOKENS, isLog: false }),
    firstToken: new Plot(byId("plot-first"), { unit: seconds, isLog: true }),
    perToken: new Plot(byId("plot-token"), { unit: seconds, isLog: true }),
  };
  #now = 0;
  #models = new Table(byId("models"), [
    { title: "Model", isName: true, of: ({ model, loaded }) => ({ text: model, exact: kindOf(loaded) }) },
    {
      title: "In flight",
      isNumber: true,
      of: ({ inFlight }) => ({ ...count(inFlight), tone: inFlight ? "busy" : "idle" }),
    },
    { title: "Waiting", isNumber: true, of: ({ waiting }) => ({ ...count(waiting), tone: waiting ? "wait" : "idle" }) },
    { title: "Memory", isNumber: true, of: ({ loaded }) => bytes(loaded?.sizeBytes) },
    { title: "On GPU", isNumber: true, of: ({ loaded }) => gpuShare(loaded) },
    { title: "Context", isNumber: true, of: ({ loaded }) => count(loaded?.contextTokens || undefined) },
    { title: "Unloads in", isNumber: true, of: ({ loaded }) => remaining(loaded?.expiresAtSeconds, this.#now / 1000) },
  ], ({ model }) => model);
  #requests = new Table(byId("requests"), [
    { title: "Ended", of: endOf },
    { title: "API", of: ({ api }) => ({ text: api, exact: "" }) },
    { title: "Model", isName: true, of: ({ model }) => (model === undefined ? NO_VALUE : { text: model, exact: "" }) },
    { title: "Status", isNumber: true, of: ({ status }) => ({ text: String(status), exact: "" }) },
    { title: "Outcome", of: ({ outcome }) => ({ text: spaced(outcome), exact: OUTCOMES[outcome], tone: outcome }) },
    { title: "Tokens in", isNumber: true, of: ({ promptTokens }) => count(promptTokens) },
    { title: "Tokens out", isNumber: true, of: ({ outputTokens }) => count(outputTokens) },
    { title: "Tokens/s", isNumber: true, of: ({ tokensPerSecond }) => speed(tokensPerSecond) },
    { title: "First token", isNumber: true, of: ({ firstTokenSeconds }) => seconds(firstTokenSeconds) },
    { title: "Duration", isNumber: true, of: ({ durationSeconds }) => seconds(durationSeconds) },
  ], ({ id }) => id);

  /** Shows the current state. */
  present({ at, inFlight, waiting, ollama, models }) {
    this.#now = at;
    show(byId("in-flight"), count(inFlight));
    show(byId("waiting"), count(waiting));
    showMarks(byId("open-marks"), inFlight, waiting);
    const installed = ollama.installedModels;
    byId("installed").textContent = installed === undefined ? "" : `${installed} installed`;
    this.#models.fill(models);
    byId("models-empty").hidden = models.length > 0;
    byId("models-empty").textContent = ollama.listsLoaded ? "No models loaded" : "Loaded models unknown";
  }

  /** Shows the plots and totals of the last minutes. */
  plots({ from, slotMs, promptTokens, outputTokens, firstToken, perToken, now, total, outcomes, phases }) {
    const plots = this.#plots;
    plots.outputTokens.plot({ from, slotMs, line: outputTokens });
    plots.promptTokens.plot({ from, slotMs, line: promptTokens });
    plots.firstToken.plot({ from, slotMs, line: firstToken.median, upper: firstToken.p95 });
    plots.perToken.plot({ from, slotMs, line: perToken.median, upper: perToken.p95 });
    plots.outputTokens.present(TOKENS(now.outputTokens), totalOf(total.outputTokens));
    plots.promptTokens.present(TOKENS(now.promptTokens), totalOf(total.promptTokens));
    plots.firstToken.present(seconds(now.firstToken?.median), medianOf(now.firstToken));
    plots.perToken.present(seconds(now.perToken?.median), medianOf(now.perToken));
    showShares("phases", phases, PHASES, seconds);
    const named = Object.entries(OUTCOMES).map(([outcome, help]) => [outcome, [spaced(outcome), help]]);
    showShares("outcomes", outcomes, Object.fromEntries(named), count);
  }

  /** Shows the last requests, newest first. */
  requests(requests) {
    this.#requests.fill(requests);
    byId("requests-empty").hidden = requests.length > 0;
  }
}

function endOf({ startedAt, durationSeconds }) {
  const { text, exact } = clock(startedAt + durationSeconds * 1000);
  return { text, exact: `${exact}; received ${clock(startedAt).exact}` };
}

function spaced(name) {
  return name.replaceAll("_", " ");
}

function kindOf(loaded) {
  return loaded === undefined ? "" : [loaded.parameterSize, loaded.quantization].filter(Boolean).join(", ");
}

function gpuShare(loaded) {
  if (loaded?.sizeBytes === undefined || loaded.vramBytes === undefined) return NO_VALUE;
  return { text: share(loaded.vramBytes, loaded.sizeBytes).text, exact: bytes(loaded.vramBytes).exact };
}

function speed(tokensPerSecond) {
  if (tokensPerSecond === undefined) return NO_VALUE;
  const { text, exact } = perSecond(tokensPerSecond, "tokens");
  return { text: text.replace("/s", ""), exact };
}

function totalOf(tokens) {
  const { text, exact } = count(tokens);
  return { text: `1-min average; ${text} in 5 min`, exact: `${exact} tokens in the last five minutes` };
}

function medianOf(quantiles) {
  if (quantiles === undefined) return { text: "no data in 5 min", exact: "" };
  const { text, exact } = seconds(quantiles.p95);
  const values = quantiles.of === 1 ? "of one value" : `of the last ${quantiles.of} values`;
  return { text: `median; p95 ${text}`, exact: `Median and 95th percentile (${exact}) ${values}` };
}

/** Shows a mark for each open request, those waiting for their first byte last. */
function showMarks(marks, inFlight, waiting) {
  const kinds = Array.from({ length: Math.min(inFlight, MAX_MARKS) }, (_, index) => index < inFlight - waiting);
  keyed(marks, kinds.entries(), {
    key: ([index]) => index,
    create: () => make("i"),
    update: (mark, [, hasFirstByte]) => mark.classList.toggle("waits", !hasFirstByte),
  });
}

/** Shows a bar with a part for each name, and a legend. Omits names without a value. */
function showShares(id, values, names, unit) {
  const entries = Object.entries(names).filter(([name]) => values[name] > 0);
  const total = entries.reduce((sum, [name]) => sum + values[name], 0);
  keyed(byId(`${id}-bar`), entries, {
    key: ([name]) => name,
    create: ([name]) => make("span", { class: name }),
    update: (part, [name, [title]]) => {
      part.style.flexGrow = values[name] / total;
      part.title = `${title}: ${share(values[name], total).exact}`;
    },
  });
  keyed(byId(id), entries, {
    key: ([name]) => name,
    create: ([name, [title, help]]) =>
      make("li", {}, make("i", { class: name }), make("span", { title: help }, title), make("b"), make("span")),
    update: ({ children: [, , value, part] }, [name]) => {
      show(value, unit(values[name]));
      show(part, share(values[name], total));
    },
  });
  byId(`${id}-empty`).hidden = entries.length > 0;
}
