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
 * Columns are `{ id, title, of, isNumber }`, where `of` returns the figure to show for a row, which may have a `tone`, and
 * a `note` in columns that have `hasNote`. Columns with `isOptional` are hidden while no row has a value.
 */
export class Table {
  #columns;
  #key;
  #titles;
  #body = make("tbody", { role: "rowgroup" });
  #foot = make("tfoot", { role: "rowgroup" });

  constructor(table, columns, key) {
    this.#columns = columns;
    this.#key = key;
    this.#titles = columns.map(({ id, title, isNumber }) =>
      make("th", { role: "columnheader", scope: "col", class: classOf({ id, isNumber }) }, title)
    );
    table.append(
      make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...this.#titles)),
      this.#body,
      this.#foot,
    );
  }

  /** Replaces the rows, and the total below them, if there is one. */
  fill(rows, total) {
    for (const [index, { isOptional, of }] of this.#columns.entries()) {
      this.#titles[index].hidden = isOptional && !rows.some((row) => of(row) !== NO_VALUE);
    }
    this.#fill(this.#body, rows, this.#key);
    this.#fill(this.#foot, total === undefined ? [] : [total], () => "total");
    this.#body.parentElement.hidden = rows.length === 0;
  }

  #fill(group, rows, key) {
    keyed(group, rows, {
      key,
      create: () => make("tr", { role: "row" }, ...this.#columns.map(cell)),
      update: (row, item) => this.#update(row, item),
    });
  }

  #update(row, item) {
    for (const [index, { of }] of this.#columns.entries()) {
      const shown = of(item);
      const cell = row.children[index];
      cell.hidden = this.#titles[index].hidden;
      const [value, note] = cell.children;
      show(value, shown);
      if (note !== undefined) show(note, { text: shown.note ?? "", exact: "" });
      const { tone = "" } = shown;
      if ((cell.dataset.tone ?? "") !== tone) cell.dataset.tone = tone;
    }
  }
}

function cell({ id, title, isNumber, hasNote }) {
  const parts = [make("span"), ...hasNote ? [make("small")] : []];
  return make("td", { role: "cell", "data-label": title, class: classOf({ id, isNumber }) }, ...parts);
}

function classOf({ id, isNumber }) {
  return isNumber ? `number ${id}` : id;
}
