/**
 * What is shown of each part of the events.
 *
 * @module
 */

import { byId, keyed, make, show, Table } from "./dom.js";
import { Plot } from "./plot.js";
import { bytes, clock, count, NOTHING, perSecond, remaining, seconds, share } from "./units.js";

/** What time goes to, in the order of a request's course. */
const PHASES = {
  load: ["Queue and loading", "Until a runner was ready: waiting in Ollama's queue, and loading the model"],
  wait: ["Waiting for a slot", "The model was loaded, and all its slots were taken"],
  prompt: ["Reading the prompt", "Evaluation of the prompt"],
  firstToken: ["Before the first token", "Streams of APIs that do not tell all of the three above apart"],
  output: ["Generating", "Generation of the output"],
  other: ["Not told", "Answers that do not say what their time went to"],
};

/** How requests end; the names are those of the label `outcome`. */
const OUTCOMES = {
  ok: "A complete answer",
  client_error: "Refused with a status of 400 to 499",
  server_error: "Ollama answered with a status of 500 or more",
  stream_error: "An error inside a stream that had begun well",
  incomplete: "The stream ended without its end mark",
  client_closed: "The client left before the answer was complete",
  upstream_unreachable: "No connection to Ollama, or it broke before the answer",
  upstream_broken: "The connection to Ollama broke inside the answer",
};

/** More open requests than this are a number only. */
const MOST_MARKS = 60;

const TOKENS = (value) => perSecond(value, "tokens");

/** The page's figures, plots and tables. */
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
    { title: "Model", isName: true, of: ({ model }) => (model === undefined ? NOTHING : { text: model, exact: "" }) },
    { title: "Status", isNumber: true, of: ({ status }) => ({ text: String(status), exact: "" }) },
    { title: "Outcome", of: ({ outcome }) => ({ text: spaced(outcome), exact: OUTCOMES[outcome], tone: outcome }) },
    { title: "Tokens in", isNumber: true, of: ({ promptTokens }) => count(promptTokens) },
    { title: "Tokens out", isNumber: true, of: ({ outputTokens }) => count(outputTokens) },
    { title: "Tokens/s", isNumber: true, of: ({ tokensPerSecond }) => speed(tokensPerSecond) },
    { title: "First token", isNumber: true, of: ({ firstTokenSeconds }) => seconds(firstTokenSeconds) },
    { title: "Duration", isNumber: true, of: ({ durationSeconds }) => seconds(durationSeconds) },
  ], ({ id }) => id);

  /** What is so at this moment. */
  present({ at, inFlight, waiting, ollama, models }) {
    this.#now = at;
    show(byId("in-flight"), count(inFlight));
    show(byId("waiting"), count(waiting));
    showMarks(byId("open-marks"), inFlight, waiting);
    const installed = ollama.installedModels;
    byId("installed").textContent = installed === undefined ? "" : `${installed} installed`;
    this.#models.fill(models);
    byId("models-empty").hidden = models.length > 0;
    byId("models-empty").textContent = ollama.listsLoaded
      ? "No model is loaded, and none is asked."
      : "Which models are loaded is not known.";
  }

  /** The plots and the sums of the last minutes. */
  plots({ from, slotMs, promptTokens, outputTokens, firstToken, perToken, now, total, outcomes, phases }) {
    const plots = this.#plots;
    plots.outputTokens.plot({ from, slotMs, line: outputTokens });
    plots.promptTokens.plot({ from, slotMs, line: promptTokens });
    plots.firstToken.plot({ from, slotMs, line: firstToken.median, upper: firstToken.p95 });
    plots.perToken.plot({ from, slotMs, line: perToken.median, upper: perToken.p95 });
    plots.outputTokens.present(TOKENS(now.outputTokens), inAll(total.outputTokens));
    plots.promptTokens.present(TOKENS(now.promptTokens), inAll(total.promptTokens));
    plots.firstToken.present(seconds(now.firstToken?.median), medianOf(now.firstToken));
    plots.perToken.present(seconds(now.perToken?.median), medianOf(now.perToken));
    showShares("phases", phases, PHASES, seconds);
    const named = Object.entries(OUTCOMES).map(([outcome, help]) => [outcome, [spaced(outcome), help]]);
    showShares("outcomes", outcomes, Object.fromEntries(named), count);
  }

  /** The last requests, the newest first. */
  requests(requests) {
    this.#requests.fill(requests);
    byId("requests-empty").hidden = requests.length > 0;
  }
}

function endOf({ startedAt, durationSeconds }) {
  const { text, exact } = clock(startedAt + durationSeconds * 1000);
  return { text, exact: `${exact}; came ${clock(startedAt).exact}` };
}

function spaced(name) {
  return name.replaceAll("_", " ");
}

function kindOf(loaded) {
  return loaded === undefined ? "" : [loaded.parameterSize, loaded.quantization].filter(Boolean).join(", ");
}

function gpuShare(loaded) {
  if (loaded?.sizeBytes === undefined || loaded.vramBytes === undefined) return NOTHING;
  return { text: share(loaded.vramBytes, loaded.sizeBytes).text, exact: bytes(loaded.vramBytes).exact };
}

function speed(tokensPerSecond) {
  if (tokensPerSecond === undefined) return NOTHING;
  const { text, exact } = perSecond(tokensPerSecond, "tokens");
  return { text: text.replace("/s", ""), exact };
}

function inAll(tokens) {
  const { text, exact } = count(tokens);
  return { text: `mean of a minute; ${text} in 5 min`, exact: `${exact} tokens in the last five minutes` };
}

function medianOf(quantiles) {
  if (quantiles === undefined) return { text: "no value in 5 min", exact: "" };
  const { text, exact } = seconds(quantiles.p95);
  const values = quantiles.of === 1 ? "of one value" : `of the last ${quantiles.of} values`;
  return { text: `median; 95% within ${text}`, exact: `Median and 95th percentile (${exact}) ${values}` };
}

/** A mark for each open request, those without a first byte last; as many as there is room for. */
function showMarks(marks, inFlight, waiting) {
  const kinds = Array.from({ length: Math.min(inFlight, MOST_MARKS) }, (_, index) => index < inFlight - waiting);
  keyed(marks, kinds.entries(), {
    key: ([index]) => index,
    create: () => make("i"),
    update: (mark, [, answers]) => mark.classList.toggle("waits", !answers),
  });
}

/** A bar with a part for each name, and a legend. Names without a value are left out. */
function showShares(id, values, names, unit) {
  const entries = Object.entries(names).filter(([name]) => values[name] > 0);
  const whole = entries.reduce((sum, [name]) => sum + values[name], 0);
  keyed(byId(`${id}-bar`), entries, {
    key: ([name]) => name,
    create: ([name]) => make("span", { class: name }),
    update: (part, [name, [title]]) => {
      part.style.flexGrow = values[name] / whole;
      part.title = `${title}: ${share(values[name], whole).exact}`;
    },
  });
  keyed(byId(id), entries, {
    key: ([name]) => name,
    create: ([name, [title, help]]) =>
      make("li", {}, make("i", { class: name }), make("span", { title: help }, title), make("b"), make("span")),
    update: ({ children: [, , value, part] }, [name]) => {
      show(value, unit(values[name]));
      show(part, share(values[name], whole));
    },
  });
  byId(`${id}-empty`).hidden = entries.length > 0;
}
