/**
 * How much of the context requests have used, and the notice of prompts that did not fit into it.
 *
 * @module
 */

import { byId } from "./dom.js";
import { count, NO_VALUE, share } from "./units.js";

/** Formats the maximum part of the context that a request of a model has used, and the number of overflows. */
export function contextUse({ contextUsed, overflows: { truncated, rejected } }) {
  const note = [truncated && `${count(truncated).text} truncated`, rejected && `${count(rejected).text} rejected`]
    .filter(Boolean).join(", ");
  if (contextUsed === undefined && note === "") return NO_VALUE;
  const { text, exact } = contextUsed === undefined ? NO_VALUE : share(contextUsed, 1);
  const most = exact && `The most that a request has used in 5 min: ${exact} of its context`;
  return { text, exact: most, note, tone: note && "overflow" };
}

/** Says how many prompts of all models did not fit, if any. */
export function showOverflows(models) {
  const sum = (kind) => models.reduce((sum, { overflows }) => sum + (overflows[kind] ?? 0), 0);
  const [truncated, rejected] = [sum("truncated"), sum("rejected")];
  byId("notice").hidden = truncated + rejected === 0;
  const counted = [
    truncated && `truncated: at least ${count(truncated).text}`,
    rejected && `rejected: ${count(rejected).text}`,
  ];
  byId("overflows").textContent = `Prompts ${counted.filter(Boolean).join(", ")}`;
}
