/**
 * Shows the data of the events.
 *
 * @module
 */

import { showOverflows } from "./context.js";
import { byId, keyed, make, show } from "./dom.js";
import { Models } from "./models.js";
import { Plot } from "./plot.js";
import { Requests } from "./requests.js";
import { isFailure, OUTCOMES, PHASES } from "./texts.js";
import { count, perSecond, seconds, share } from "./units.js";

/** Maximum number of marks for open requests. */
const MAX_MARKS = 60;

const TOKENS = (value) => perSecond(value, "tokens");
const REQUESTS = (value) => perSecond(value, "requests");

/** The figures, plots and tables of the page. */
export class View {
  #plots = {
    requests: new Plot(byId("plot-requests"), { unit: REQUESTS, none: "No requests", part: "failed" }),
    outputTokens: new Plot(byId("plot-output"), { unit: TOKENS, none: "No tokens generated" }),
    promptTokens: new Plot(byId("plot-prompt"), { unit: TOKENS, none: "No prompts" }),
    firstToken: new Plot(byId("plot-first"), { unit: seconds, none: "No streamed output", isLog: true }),
    perToken: new Plot(byId("plot-token"), { unit: seconds, none: "No output with a speed", isLog: true }),
  };
  #models = new Models();
  #requests = new Requests();

  /** Shows the current state. */
  present(present) {
    const { inFlight, waiting } = present;
    show(byId("in-flight"), count(inFlight));
    show(byId("waiting"), count(waiting));
    showMarks(byId("open-marks"), inFlight, waiting);
    this.#models.present(present);
  }

  /** Plots the last minutes. */
  plots({ from, slotMs, requests, failures, promptTokens, outputTokens, firstToken, perToken }) {
    const plots = this.#plots;
    plots.requests.plot({ from, slotMs, line: requests, part: failures });
    plots.outputTokens.plot({ from, slotMs, line: outputTokens });
    plots.promptTokens.plot({ from, slotMs, line: promptTokens });
    plots.firstToken.plot({ from, slotMs, line: firstToken.median, upper: firstToken.p95 });
    plots.perToken.plot({ from, slotMs, line: perToken.median, upper: perToken.p95 });
  }

  /** Shows the figures of the last minutes. */
  totals({ now, total, outcomes, phases, models }) {
    const plots = this.#plots;
    const ended = sumOf(outcomes);
    plots.requests.present(REQUESTS(now.requests), totalOf(ended, "requests"));
    plots.outputTokens.present(TOKENS(now.outputTokens), totalOf(total.outputTokens, "tokens"));
    plots.promptTokens.present(TOKENS(now.promptTokens), totalOf(total.promptTokens, "tokens"));
    plots.firstToken.present(seconds(now.firstToken?.median), p95Of(now.firstToken));
    plots.perToken.present(seconds(now.perToken?.median), p95Of(now.perToken));
    showShares("phases", phases, PHASES, seconds);
    showShares("outcomes", outcomes, OUTCOMES, count);
    const failed = sumOf(Object.fromEntries(Object.entries(outcomes).filter(([outcome]) => isFailure(outcome))));
    byId("outcomes-total").textContent = ended === 0
      ? ""
      : `${count(ended).text} in 5 min, ${count(failed).text} failed`;
    byId("phases-total").textContent = ended === 0 ? "" : `${seconds(sumOf(phases)).text} in 5 min`;
    this.#models.figures = models;
    showOverflows(models);
  }

  /** Shows the last requests, newest first. */
  requests(requests) {
    this.#requests.last = requests;
  }

  /** Shows the last failures, newest first. */
  failures(requests) {
    this.#requests.failures = requests;
  }
}

function sumOf(values) {
  return Object.values(values).reduce((sum, value) => sum + value, 0);
}

function totalOf(total, things) {
  const { text, exact } = count(total);
  return { text: `1-min average; ${text} in 5 min`, exact: `${exact} ${things} in the last five minutes` };
}

function p95Of(quantiles) {
  if (quantiles === undefined) return { text: "", exact: "" };
  const { text, exact } = seconds(quantiles.p95);
  const values = quantiles.of === 1 ? "of one value" : `of the last ${quantiles.of} values`;
  return { text, exact: `Median and 95th percentile (${exact}) ${values}` };
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
