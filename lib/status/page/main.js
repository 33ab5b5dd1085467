/**
 * Entry point of the page: passes events to the view and shows the state of the exporter and Ollama.
 *
 * @module
 */

import { byId, show } from "./dom.js";
import { Link } from "./link.js";
import { clock, seconds } from "./units.js";
import { View } from "./view.js";

const TITLE = document.title;

const view = new View();
/** Time of the last update. */
let presentAt;
/** The exporter's address of Ollama and its start. */
let about;

/** Shows the state. Screen readers announce it, so it is left alone if unchanged. */
function showHealth(state, text) {
  const section = byId("state");
  if (section.dataset.state === state && byId("health-text").textContent === text) return;
  section.dataset.state = state;
  byId("health-text").textContent = text;
  document.title = state === "up" ? TITLE : `${text.split(/[.:]/, 1)[0]} · ${TITLE}`;
  document.body.classList.toggle("stale", state === "lost");
}

function showOllama({ isUp, version, error, cause }) {
  byId("problem").hidden = isUp !== false;
  if (isUp === undefined) showHealth("connecting", "Connecting to Ollama…");
  else if (isUp) showHealth("up", `Ollama ${version} is up`);
  else {
    const [path, ...reasons] = error.split(": ");
    // The root cause; the tooltip has the whole chain.
    const reason = reasons.at(-1).replace(/ \(os error \d+\)$/, "");
    showHealth("down", `Ollama is down: ${reason}`);
    show(byId("reason"), { text: reason, exact: error });
    byId("tried").textContent = `GET ${about?.upstream ?? ""}${path}, every 3 s while this page is open`;
    byId("cause-title").hidden = byId("cause").hidden = cause === undefined;
    byId("cause").textContent = cause ?? "";
  }
}

function showAbout({ startedAt, upstream }, at) {
  byId("facts").hidden = false;
  byId("upstream").textContent = upstream;
  show(byId("uptime"), { text: seconds((at - startedAt) / 1000).text, exact: `since ${clock(startedAt).exact}` });
}

byId("main").hidden = byId("pause").hidden = false;
showHealth("connecting", "Connecting…");

const link = new Link("events", {
  exporter: (exporter) => (about = exporter),
  present: (present) => {
    presentAt = present.at;
    showAbout(about, present.at);
    showOllama(present.ollama);
    view.present(present);
  },
  plots: (plots) => view.plots(plots),
  totals: (totals) => view.totals(totals),
  requests: (requests) => view.requests(requests),
  failures: (requests) => view.failures(requests),
}, (state, reason) => {
  const asOf = presentAt === undefined ? "" : ` Last update: ${clock(presentAt).text}.`;
  if (state === "lost") showHealth("lost", `${reason}${asOf} Retrying…`);
  if (state === "paused") showHealth("paused", `Paused.${asOf}`);
});

byId("pause").addEventListener("click", ({ currentTarget }) => {
  const isPaused = currentTarget.getAttribute("aria-pressed") === "false";
  currentTarget.setAttribute("aria-pressed", String(isPaused));
  link.isWanted = !isPaused;
});

link.isWanted = true;
