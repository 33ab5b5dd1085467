/**
 * The few things that are done to the document. What comes from outside becomes text and never markup.
 *
 * @module
 */

import { NOTHING } from "./units.js";

/** The element with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Makes an element. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Makes an element of SVG. */
export function makeSvg(tag, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Shows a figure; its exact value where it is pointed at. What has not changed is left alone. */
export function show(element, { text, exact }) {
  if (element.textContent !== text) element.textContent = text;
  if (element.title !== exact) element.title = exact;
  element.classList.toggle("exact", exact !== "" && exact !== text);
}

/** Makes the children of an element those of the items, and keeps the elements of items that were there before. */
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
 * Fills a table, whose rows become blocks on a narrow screen: the roles, which are lost then, are spelt out.
 *
 * @param columns `{ title, of, isNumber }`; `of` returns what a row shows there.
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

  /** Shows these rows and no others. */
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
      // Where rows are blocks there is no need for a place that is empty.
      row.children[index].classList.toggle("none", shown === NOTHING);
      if (shown.tone !== undefined) value.dataset.tone = shown.tone;
    }
  }
}

function cell({ title, isNumber, isName }) {
  const kind = isNumber ? "number" : isName ? "name" : "";
  return make("td", { role: "cell", "data-label": title, class: kind }, make("span"));
}
