/**
 * Checks the format of an exposition, whatever its metrics.
 *
 * @module
 */

const LABEL = String.raw`[a-zA-Z_]\w*="(?:[^"\\]|\\["\\n])*"`;
const VALUE = String.raw`(?:-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|[+-]Inf)`;
const EXEMPLAR = String.raw`(?: # {trace_id="[0-9a-f]{32}"} ${VALUE} \d+(?:\.\d+)?)?`;
const SAMPLE = new RegExp(`^([a-z_]\\w*)(?:{${LABEL}(?:,${LABEL})*})? ${VALUE}${EXEMPLAR}$`);

/**
 * Returns the problems of an exposition: malformed lines, values that are not numbers, duplicate series as encoded, and
 * metrics without a type.
 */
export function faultsOf(text: string): string[] {
  const faults: string[] = [];
  const types = new Set<string>();
  const series = new Set<string>();
  // As it goes over the wire, and comes out of it.
  for (const line of new TextDecoder().decode(new TextEncoder().encode(text)).split("\n")) {
    if (line === "" || line === "# EOF" || /^# HELP [a-z_]\w* \S/.test(line)) continue;
    const [, declared] = /^# TYPE ([a-z_]\w*) (?:counter|gauge|histogram)$/.exec(line) ?? [];
    if (declared !== undefined) {
      if (types.has(declared)) faults.push(`declared twice: ${line}`);
      types.add(declared);
      continue;
    }
    const [, name = ""] = SAMPLE.exec(line) ?? [];
    if (name === "") faults.push(`no sample: ${line}`);
    else if (![name, name.replace(/_(total|bucket|sum|count)$/, "")].some((metric) => types.has(metric))) {
      faults.push(`without a type: ${line}`);
    }
    const one = line.replace(/ # {.*$/, "").replace(/ \S+$/, "");
    if (series.has(one)) faults.push(`twice: ${line}`);
    series.add(one);
  }
  return faults;
}
