/**
 * Figures in human units. Each function returns `{ text, exact }`: what is shown, and what is shown when it is pointed at.
 *
 * @module
 */

const GROUPED = new Intl.NumberFormat("en-US", { maximumFractionDigits: 6 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

/** What is shown where there is no value. */
export const NOTHING = { text: "–", exact: "" };

/** Three significant digits without an exponent: `1.24`, `12.4`, `124`, `1240`. */
function threeDigits(value) {
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 2));
}

/** The value in the largest of the units that it is at least one of. */
function scaled(value, units, step) {
  let index = 0;
  // 999.6 would be shown as 1000.
  while (index < units.length - 1 && value >= step - 0.5) {
    value /= step;
    index++;
  }
  return `${threeDigits(value)}${units[index]}`;
}

/** A number of things. */
export function count(value) {
  if (value === undefined) return NOTHING;
  const exact = GROUPED.format(value);
  return { text: value < 10_000 ? exact : scaled(value, ["", "k", "M", "G"], 1000), exact };
}

/** Things a second. */
export function perSecond(value, things) {
  if (value === undefined || value === null) return NOTHING;
  const text = value < 1 && value > 0 ? value.toFixed(1) : scaled(value, ["", "k", "M"], 1000);
  return { text: `${text}/s`, exact: `${GROUPED.format(value)} ${things} per second` };
}

/** A size. Decimal units, as `ollama ps` has them. */
export function bytes(value) {
  if (value === undefined) return NOTHING;
  return { text: scaled(value, [" B", " kB", " MB", " GB", " TB"], 1000), exact: `${GROUPED.format(value)} bytes` };
}

/** A share of a whole, in percent. */
export function share(part, whole) {
  const percent = whole > 0 ? part / whole * 100 : 0;
  const text = percent > 0 && percent < 1
    ? "< 1%"
    : percent > 99 && percent < 100
    ? "> 99%"
    : `${Math.round(percent)}%`;
  return { text, exact: `${GROUPED.format(percent)}%` };
}

/** A duration in seconds. */
export function seconds(value) {
  if (value === undefined || value === null) return NOTHING;
  return { text: secondsText(value), exact: `${GROUPED.format(value)} s` };
}

function secondsText(value) {
  if (value === 0) return "0 s";
  if (value < 0.9995) return scaled(value * 1e6, [" µs", " ms"], 1000);
  if (value < 59.95) return `${threeDigits(value)} s`;
  const whole = Math.round(value);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(value / 60);
  return `${GROUPED.format(Math.floor(minutes / 60))} h ${minutes % 60} min`;
}

/** A moment, in milliseconds of the Unix epoch. */
export function clock(at) {
  return { text: CLOCK.format(at), exact: new Date(at).toISOString() };
}

/** A model that is to stay is given a time centuries ahead. */
const STAYS_SECONDS = 10 * 365 * 86_400;

/** How long it is until a moment. Both are seconds of the Unix epoch. */
export function remaining(at, now) {
  if (at === undefined) return NOTHING;
  const left = at - now;
  if (left > STAYS_SECONDS) return { text: "stays", exact: "kept until Ollama ends" };
  const exact = new Date(at * 1000).toISOString();
  const text = left <= 0 ? "due" : left < 59.5 ? `${Math.ceil(left)} s` : secondsText(left);
  return { text, exact };
}
