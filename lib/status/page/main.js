/**
 * Entry point of the page: passes events to the view and shows the state of the exporter and Ollama.
 *
 * @module
 */

import { byId } from "./dom.js";
import { Link } from "./link.js";
import { clock } from "./units.js";
import { View } from "./view.js";

const TITLE = document.title;

const view = new View();
/** Time of the last update. */
let presentAt;

/** Shows the state. Screen readers announce it, so it is left alone if unchanged. */
function showHealth(state, text, detail = "") {
  const health = byId("health");
  health.title = detail;
  if (health.dataset.state === state && byId("health-text").textContent === text) return;
  health.dataset.state = state;
  byId("health-text").textContent = text;
  document.title = state === "up" ? TITLE : `${text.split(/[.:]/, 1)[0]} · ${TITLE}`;
  document.body.classList.toggle("stale", state === "lost");
}

function showOllama({ isUp, version, error }) {
  if (isUp === undefined) showHealth("connecting", "Connecting to Ollama…");
  else if (isUp) showHealth("up", `Ollama ${version} is up`);
  // The root cause; the tooltip has the whole chain.
  else showHealth("down", `Ollama is down: ${error.split(": ").at(-1)}`, error);
}

const link = new Link("events", {
  present: (present) => {
    presentAt = present.at;
    showOllama(present.ollama);
    view.present(present);
  },
  plots: (plots) => view.plots(plots),
  requests: (requests) => view.requests(requests),
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
