/**
 * DOM helpers. Untrusted values are set as text, never as markup.
 *
 * @module
 */

import { NO_VALUE } from "./units.js";

/** Returns the element with the given id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Creates an element. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Creates an SVG element. */
export function makeSvg(tag, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Shows a figure, with its exact value as a tooltip. Does not touch the DOM if nothing has changed. */
export function show(element, { text, exact }) {
  if (element.textContent !== text) element.textContent = text;
  if (element.title !== exact) element.title = exact;
  element.classList.toggle("exact", exact !== "" && exact !== text);
}

/** Updates the children of an element to match the items, reusing the elements of items with the same key. */
export function keyed(parent, items, { key, create, update }) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = old.get(name);
    if (child === undefined) {
      child = create(item);
      child.dataset.key = name;
    }
    old.delete(name);
    update(child, item);
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  for (const child of old.values()) child.remove();
}

/**
 * A table. Its rows become blocks on narrow screens, which removes the implicit roles: they are set explicitly.
 *
 * Columns are `{ title, of, isNumber }`, where `of` returns the figure to show for a row.
 */
export class Table {
  #columns;
  #key;
  #body = make("tbody", { role: "rowgroup" });

  constructor(table, columns, key) {
    this.#columns = columns;
    this.#key = key;
    const titles = columns.map(({ title, isNumber }) =>
      make("th", { role: "columnheader", scope: "col", ...isNumber && { class: "number" } }, title)
    );
    table.append(make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...titles)), this.#body);
  }

  /** Replaces the rows. */
  fill(rows) {
    keyed(this.#body, rows, {
      key: this.#key,
      create: () => make("tr", { role: "row" }, ...this.#columns.map(cell)),
      update: (row, item) => this.#update(row, item),
    });
    this.#body.parentElement.hidden = rows.length === 0;
  }

  #update(row, item) {
    for (const [index, { of }] of this.#columns.entries()) {
      const shown = of(item);
      const value = row.children[index].firstElementChild;
      show(value, shown);
      // Empty cells are hidden where rows are blocks.
      row.children[index].classList.toggle("none", shown === NO_VALUE);
      if (shown.tone !== undefined) value.dataset.tone = shown.tone;
    }
  }
}

function cell({ title, isNumber, isName }) {
  const kind = isNumber ? "number" : isName ? "name" : "";
  return make("td", { role: "cell", "data-label": title, class: kind }, make("span"));
}
