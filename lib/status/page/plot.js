/**
 * A small plot of the last minutes: a filled line, with a part of it in red, or dots of a median with a band up to the
 * 95th percentile. The pointer and the arrow keys select a value.
 *
 * @module
 */

import { make, makeSvg, show } from "./dom.js";
import { clock } from "./units.js";

/** Minimum distance between grid lines, in pixels. */
const GRID_PX = 26;
const PAD_TOP_PX = 7;
const PAD_BOTTOM_PX = 7;
/** Width of the labels, left of the lines, in pixels. */
const LABELS_PX = 54;
/** Distance from the labels to the lines, in pixels. */
const LABEL_GAP_PX = 7;
/** Maximum distance of joined dots, in slots. */
const JOIN_SLOTS = 4;

/** A plot in a card. */
export class Plot {
  #unit;
  #isLog;
  #partName;
  #data = { from: 0, slotMs: 1, line: [], upper: undefined, part: undefined };
  #cursor;
  #figure = make("p", { class: "figure" }, "–");
  #sub = make("span");
  #chart = make("div", { class: "chart", role: "slider", tabindex: "0" });
  #svg = makeSvg("svg", { "aria-hidden": "true" });
  #grid = makeSvg("g", { class: "grid" });
  #labels = makeSvg("g", { class: "labels" });
  #area = makeSvg("path", { class: "area" });
  #part = makeSvg("path", { class: "part" });
  #line = makeSvg("path", { class: "line" });
  #dots = makeSvg("path", { class: "dots" });
  #mark = makeSvg("line", { class: "mark" });
  #readout = make("span", { class: "readout" });
  #none = make("p", { class: "none" });

  /**
   * @param card Element of the card, which has the title.
   * @param unit Formats a value.
   * @param none Text in place of a plot without values.
   * @param part Name of the part of the values in red. Default: there is none.
   * @param isLog Whether the scale is logarithmic and the values are medians. Default: neither.
   */
  constructor(card, { unit, none, part, isLog = false }) {
    this.#unit = unit;
    this.#isLog = isLog;
    this.#partName = part;
    this.#none.textContent = `${none} in the last 5 minutes`;
    this.#svg.append(this.#grid, this.#area, this.#part, this.#line, this.#dots, this.#labels, this.#mark);
    this.#chart.append(this.#svg, this.#none);
    this.#chart.setAttribute("aria-label", `${card.querySelector("h2").textContent} over time`);
    const axis = make("p", { class: "axis", "aria-hidden": "true" }, make("span", {}, "5 min ago"));
    axis.append(this.#readout, ...part === undefined ? [] : [key("part", part)], make("span", {}, "now"));
    const legend = isLog ? [key("dot", "median"), key("band", "p95")] : [];
    if (isLog) card.querySelector("h2").append(" ", make("small", {}, "log scale"));
    card.append(this.#figure, make("p", { class: "sub" }, ...legend, this.#sub), this.#chart, axis);
    new ResizeObserver(() => this.#draw()).observe(this.#chart);
    this.#listen();
  }

  /** Shows the current value and its description. */
  present(figure, sub) {
    show(this.#figure, figure);
    show(this.#sub, sub);
  }

  /** Plots a value per slot: `from` and `slotMs` in milliseconds, `upper` for a band. */
  plot(data) {
    this.#data = data;
    this.#draw();
  }

  #listen() {
    const chart = this.#chart;
    chart.addEventListener("pointermove", (event) => {
      const { left, width } = chart.getBoundingClientRect();
      this.#select((event.clientX - left - LABELS_PX) / (width - LABELS_PX) * (this.#data.line.length - 1));
    });
    for (const name of ["pointerleave", "blur"]) chart.addEventListener(name, () => this.#select(undefined));
    const last = () => this.#data.line.length - 1;
    const keys = {
      ArrowLeft: () => (this.#cursor ?? last() + 1) - 1,
      ArrowDown: () => (this.#cursor ?? last() + 1) - 1,
      ArrowRight: () => (this.#cursor ?? last()) + 1,
      ArrowUp: () => (this.#cursor ?? last()) + 1,
      PageDown: () => (this.#cursor ?? last()) - 12,
      PageUp: () => (this.#cursor ?? last()) + 12,
      Home: () => 0,
      End: last,
      Escape: () => undefined,
    };
    chart.addEventListener("keydown", (event) => {
      if (!Object.hasOwn(keys, event.key) || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      this.#select(keys[event.key]());
    });
  }

  /** Selects a slot, or none. */
  #select(index) {
    const last = this.#data.line.length - 1;
    this.#cursor = index === undefined ? undefined : Math.min(last, Math.max(0, Math.round(index)));
    this.#drawCursor();
  }

  #draw() {
    const { line, upper, part } = this.#data;
    const { clientWidth: width, clientHeight: height } = this.#chart;
    if (width === 0 || line.length === 0) return;
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const values = [...line, ...upper ?? []].filter((value) => value !== null);
    const isEmpty = !values.some((value) => value > 0);
    this.#chart.parentElement.classList.toggle("without", isEmpty);
    const scale = this.#isLog ? logScale(values) : linearScale(values);
    const y = (value) => round(PAD_TOP_PX + (height - PAD_TOP_PX - PAD_BOTTOM_PX) * (1 - scale.at(value)));
    const pointsOf = (values) =>
      values.map((value, index) => value === null ? undefined : { index, x: this.#x(index), y: y(value) });
    const points = pointsOf(line);
    const floor = height - PAD_BOTTOM_PX;
    this.#drawGrid(isEmpty ? [] : scale.ticks(Math.max(1, Math.floor((floor - PAD_TOP_PX) / GRID_PX))), y, width);
    const joined = joinedPoints(points);
    this.#line.setAttribute("d", joined.map(linePath).join(""));
    const dots = this.#isLog ? points.map((point) => point ? `M${point.x} ${point.y}h0` : "") : [];
    this.#dots.setAttribute("d", dots.join(""));
    this.#area.setAttribute("d", areaPath(joined, ({ index }) => upper === undefined ? floor : y(upper[index])));
    this.#part.setAttribute("d", part === undefined ? "" : areaPath(joinedPoints(pointsOf(part)), () => floor));
    this.#drawCursor();
  }

  /** Horizontal position of a slot. */
  #x(index) {
    return round(LABELS_PX + index / (this.#data.line.length - 1) * (this.#chart.clientWidth - LABELS_PX));
  }

  #drawGrid(ticks, y, width) {
    const lines = ticks.map((value) => makeSvg("line", { x1: LABELS_PX, x2: width, y1: y(value), y2: y(value) }));
    const labels = ticks.map((value) => {
      const label = makeSvg("text", { x: LABELS_PX - LABEL_GAP_PX, y: y(value), dy: "0.35em" });
      label.textContent = value === 0
        ? "0"
        : this.#unit(value).text.replace(/\.0+(?!\d)/, "").replace(/(\.\d)0(?!\d)/, "$1");
      return label;
    });
    this.#grid.replaceChildren(...lines);
    this.#labels.replaceChildren(...labels);
  }

  #drawCursor() {
    const { line, from, slotMs } = this.#data;
    const chart = this.#chart;
    const index = this.#cursor ?? line.length - 1;
    const { text: time } = clock(from + index * slotMs);
    const values = this.#valuesAt(index);
    chart.setAttribute("aria-valuemin", "0");
    chart.setAttribute("aria-valuemax", String(line.length - 1));
    chart.setAttribute("aria-valuenow", String(index));
    chart.setAttribute("aria-valuetext", `${time}: ${values}`);
    const isPointed = this.#cursor !== undefined;
    this.#readout.textContent = isPointed ? `${time}  ${values}` : "";
    chart.parentElement.classList.toggle("pointed", isPointed);
    const x = this.#x(index);
    for (const [name, at] of Object.entries({ x1: x, x2: x, y1: 0, y2: chart.clientHeight })) {
      this.#mark.setAttribute(name, String(at));
    }
  }

  /** The values of a slot in words. */
  #valuesAt(index) {
    const { line, upper, part } = this.#data;
    const text = (of) => this.#unit(of).text;
    if (line[index] === null || line[index] === undefined) return "no data";
    if (upper !== undefined) return `median ${text(line[index])}, p95 ${text(upper[index])}`;
    return part?.[index] > 0 ? `${text(line[index])}, ${this.#partName} ${text(part[index])}` : text(line[index]);
  }
}

/** An entry of the legend. */
function key(kind, text) {
  return make("span", { class: "key" }, make("i", { class: kind }), text);
}

/** Returns the path of the areas between runs of points and a ceiling or floor, `edge` being its vertical position. */
function areaPath(runs, edge) {
  const back = (point) => `L${point.x} ${edge(point)}`;
  return runs.map((run) => `${linePath(run)}${run.toReversed().map(back).join("")}Z`).join("");
}

/** Groups points into runs that are close enough to be joined. */
function joinedPoints(points) {
  const runs = [];
  for (const point of points) {
    if (point === undefined) continue;
    const run = runs.at(-1);
    if (run !== undefined && point.index - run.at(-1).index <= JOIN_SLOTS) run.push(point);
    else runs.push([point]);
  }
  return runs;
}

function linePath(run) {
  return run.map(({ x, y }, index) => `${index === 0 ? "M" : "L"}${x} ${y}`).join("");
}

function round(pixels) {
  return Math.round(pixels * 10) / 10;
}

/** Returns a scale from 0 to a round number. `at` maps to 0 to 1. */
function linearScale(values) {
  const top = roundUp(Math.max(1, ...values));
  return {
    at: (value) => value / top,
    ticks: (max) => max < 2 ? [0, top] : [0, top / 2, top],
  };
}

/** Rounds up to 1, 2, 4, 6, 8 or 10 times a power of ten, whose halves are round too. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].find((step) => value <= step * power + Number.EPSILON) * power;
}

/** Returns a logarithmic scale for all values and at least one decade. */
function logScale(values) {
  const [min, max] = values.length === 0 ? [0.1, 1] : [Math.min(...values), Math.max(...values)];
  const middle = Math.sqrt(Math.max(min, 1e-5) * Math.max(max, 1e-5));
  const low = Math.log10(Math.min(Math.max(min, 1e-5) / 1.2, middle / Math.sqrt(10)));
  const high = Math.log10(Math.max(max * 1.2, middle * Math.sqrt(10)));
  const at = (value) => (Math.log10(Math.max(value, 1e-5)) - low) / (high - low);
  return { at, ticks: (maxTicks) => logTicks(low, high, maxTicks) };
}

/** Returns round numbers between two powers of ten, as many as allowed. */
function logTicks(low, high, max) {
  for (const steps of [[1, 2, 5], [1, 3], [1]]) {
    const ticks = [];
    for (let power = Math.floor(low); power <= high; power++) {
      ticks.push(...steps.map((step) => step * 10 ** power).filter((tick) => isWithin(Math.log10(tick), low, high)));
    }
    if (ticks.length <= max) return ticks;
  }
  const powers = [];
  const stride = Math.ceil((high - low) / max);
  for (let power = Math.ceil(low); power <= high; power += stride) powers.push(10 ** power);
  return powers;
}

function isWithin(value, low, high) {
  return value >= low && value <= high;
}
