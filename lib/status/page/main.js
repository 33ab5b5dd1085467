/**
 * The page: what comes in the events goes to the view, and how the exporter and Ollama are is said in one line.
 *
 * @module
 */

import { byId } from "./dom.js";
import { Link } from "./link.js";
import { clock } from "./units.js";
import { View } from "./view.js";

const TITLE = document.title;

const view = new View();
let presentAt;

/** Says how things are. It is read out, so it is left alone as long as it stays the same. */
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
  if (isUp === undefined) showHealth("connecting", "Asking Ollama how it is…");
  else if (isUp) showHealth("up", `Ollama ${version} answers`);
  // What went wrong at last says it best; what led to it is there to be pointed at.
  else showHealth("away", `Ollama is away: ${error.split(": ").at(-1)}`, error);
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
  const asOf = presentAt === undefined ? "" : ` Shown is ${clock(presentAt).text}.`;
  if (state === "lost") showHealth("lost", `${reason}${asOf} Trying again…`);
  if (state === "paused") showHealth("paused", `Paused.${asOf}`);
});

byId("pause").addEventListener("click", ({ currentTarget }) => {
  const isPaused = currentTarget.getAttribute("aria-pressed") === "false";
  currentTarget.setAttribute("aria-pressed", String(isPaused));
  link.isWanted = !isPaused;
});

link.isWanted = true;
