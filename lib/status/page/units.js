/**
 * Figures in human-readable units. Each function returns `{ text, exact }`: the text to show and its tooltip.
 *
 * @module
 */

const GROUPED = new Intl.NumberFormat("en-US", { maximumFractionDigits: 6 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

/** Figure of a missing value. */
export const NO_VALUE = { text: "–", exact: "" };

/** Formats three significant digits without an exponent: `1.24`, `12.4`, `124`, `1240`. */
function threeDigits(value) {
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 2));
}

/** Formats a value in the largest unit that does not exceed it. */
function scaled(value, units, step) {
  let index = 0;
  // 999.6 would be rounded to 1000.
  while (index < units.length - 1 && value >= step - 0.5) {
    value /= step;
    index++;
  }
  return `${threeDigits(value)}${units[index]}`;
}

/** Formats a number. */
export function count(value) {
  if (value === undefined) return NO_VALUE;
  const exact = GROUPED.format(value);
  return { text: value < 10_000 ? exact : scaled(value, ["", "k", "M", "G"], 1000), exact };
}

/** Formats a rate, `things` being a plural noun. */
export function perSecond(value, things) {
  if (value === undefined || value === null) return NO_VALUE;
  const text = value >= 1 || value === 0
    ? scaled(value, ["", "k", "M"], 1000)
    : value < 0.005
    ? "< 0.01"
    : value.toFixed(value < 0.095 ? 2 : 1);
  return { text: `${text}/s`, exact: `${GROUPED.format(value)} ${things} per second` };
}

/** Formats a size in decimal units, like `ollama ps`. */
export function bytes(value) {
  if (value === undefined) return NO_VALUE;
  return { text: scaled(value, [" B", " kB", " MB", " GB", " TB"], 1000), exact: `${GROUPED.format(value)} bytes` };
}

/** Formats a share in percent. */
export function share(part, whole) {
  const percent = whole > 0 ? part / whole * 100 : 0;
  const text = percent > 0 && percent < 1
    ? "< 1%"
    : percent > 99 && percent < 100
    ? "> 99%"
    : `${Math.round(percent)}%`;
  return { text, exact: `${GROUPED.format(percent)}%` };
}

/** Formats a duration in seconds. */
export function seconds(value) {
  if (value === undefined || value === null) return NO_VALUE;
  return { text: secondsText(value), exact: `${GROUPED.format(value)} s` };
}

function secondsText(value) {
  if (value === 0) return "0 s";
  if (value < 0.9995) return scaled(value * 1e6, [" µs", " ms"], 1000);
  if (value < 59.95) return `${threeDigits(value)} s`;
  const whole = Math.round(value);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(value / 60);
  const hours = Math.round(minutes / 60);
  if (hours >= 48) return `${GROUPED.format(Math.floor(hours / 24))} d ${hours % 24} h`;
  return `${GROUPED.format(Math.floor(minutes / 60))} h ${minutes % 60} min`;
}

/** Formats the time of day of a Unix timestamp in milliseconds. */
export function clock(at) {
  return { text: CLOCK.format(at), exact: new Date(at).toISOString() };
}

/** Models that never expire have a time centuries ahead. */
const NEVER_SECONDS = 10 * 365 * 86_400;

/** Formats the time until `at`; both are Unix timestamps in seconds. */
export function remaining(at, now) {
  if (at === undefined) return NO_VALUE;
  const left = at - now;
  if (left > NEVER_SECONDS) return { text: "never", exact: "kept until Ollama stops" };
  const exact = new Date(at * 1000).toISOString();
  const text = left <= 0 ? "due" : left < 59.5 ? `${Math.ceil(left)} s` : secondsText(left);
  return { text, exact };
}
