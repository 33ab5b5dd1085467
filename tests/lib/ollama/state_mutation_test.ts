/** Randomly damaged status responses: no exception, no NaN, no duplicate series, and no series that outlives them. */

import { assert, assertEquals } from "@std/assert";
import { type Probe, PROBES } from "../../../lib/ollama/state.ts";
import { AskedOllama, listing, saying } from "../../support/asked_ollama.ts";
import { faultsOf } from "../../support/exposition.ts";
import { REPOSITORY } from "../../support/fixtures.ts";
import { JsonWriter } from "../../support/random_json.ts";

const ROUNDS = 3000;
const SEED = 20261122;
/** Valid and invalid times. */
const TIMES = ["2318-12-01T10:11:12.3+01:00", "0001-01-01T00:00:00Z", "2026-99-99T00:00:00Z", "275760-09-13T00:00:00Z"];

function fixture(name: string): string {
  return Deno.readTextFileSync(new URL(`tests/fixtures/${name}.json`, REPOSITORY));
}

const ORIGINALS: Record<Probe, string[]> = {
  version: ["version"].map(fixture),
  ps: ["ps", "ps_duplicate", "ps_forever", "ps_no_details", "ps_empty"].map(fixture),
  tags: ["tags", "tags_0_40", "tags_remote"].map(fixture),
};

/** A replacement for a value: of another type, or nearly the same. */
function replacement(value: unknown, writer: JsonWriter): unknown {
  switch (writer.below(9)) {
    case 0:
      return String(value);
    case 1:
      return null;
    case 2:
      return [value];
    case 3:
      return { value };
    case 4:
      return undefined;
    case 5:
      return Number(value);
    case 6:
      return writer.pick(TIMES);
    case 7:
      return -Number(value);
    default:
      return JSON.parse(writer.value(3));
  }
}

/** The value with some of its parts replaced, repeated or omitted. */
function damaged(value: unknown, writer: JsonWriter): unknown {
  if (writer.below(12) === 0) return replacement(value, writer);
  if (Array.isArray(value)) {
    const items = value.map((item) => damaged(item, writer));
    return writer.below(4) > 0 ? items : [...items, ...value, ...items.map((item) => damaged(item, writer))];
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, damaged(member, writer)]));
}

/** The JSON of a damaged response, sometimes truncated or with a character changed. */
function damagedText(probe: Probe, writer: JsonWriter): string {
  const text = JSON.stringify(damaged(JSON.parse(writer.pick(ORIGINALS[probe])), writer)) ?? "";
  const at = writer.below(text.length + 1);
  switch (writer.below(10)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return text.slice(0, at) + writer.pick(['"', "\\", "{", "]", "9", "\u0000", "\ufeff"]) + text.slice(at + 1);
    default:
      return text;
  }
}

/** The text with varying values masked. */
function masked(text: string): string {
  return text
    .replace(/^(ollama_exporter_probe_duration_seconds{.*}) .*$/gm, "$1 0")
    // Failures stay counted.
    .replace(/^ollama_exporter_probe_errors_total.*\n/gm, "")
    // Labels stay until others need them, and so do the counters that start at 0 with them.
    .replace(/^ollama_(requests|tokens)_.* 0\n/gm, "");
}

Deno.test(`Ollama.fetchState() survives ${ROUNDS} rounds of damaged responses (seed ${SEED})`, async () => {
  const good = { version: saying(fixture("version")), ps: saying(fixture("ps")), tags: saying(fixture("tags")) };
  using asked = new AskedOllama(good, { modelLimit: 10 });
  const before = masked((await asked.scrape()).text);
  assertEquals(faultsOf(before), []);
  const writer = new JsonWriter(SEED);
  let failed = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const texts = Object.fromEntries(PROBES.map((probe) => [probe, damagedText(probe, writer)]));
    for (const probe of PROBES) asked.answers[probe] = saying(texts[probe] ?? "");
    const scrape = await asked.scrape();
    const what = `round ${round}: ${JSON.stringify(texts)}`;
    assertEquals(faultsOf(scrape.text), [], what);
    const isUp = (probe: Probe) => scrape.value("ollama_exporter_probe_success", { probe });
    assertEquals(scrape.value("ollama_up"), isUp("version"), what);
    assertEquals(scrape.value("ollama_loaded_models") !== undefined, isUp("ps") === 1, what);
    assertEquals(scrape.value("ollama_installed_models") !== undefined, isUp("tags") === 1, what);
    assertEquals(scrape.labelValues("version").length, isUp("version"), what);
    if (isUp("ps") === 0) failed++;
    if (round % 100 > 0) continue;
    // Nothing of the damaged responses remains.
    asked.answers = { ...good };
    assertEquals(masked((await asked.scrape()).text), before, what);
  }
  assert(failed > ROUNDS / 20 && failed < ROUNDS / 2, `${failed} responses were not valid lists`);
});

Deno.test("Ollama.fetchState() accepts no number from which a gauge cannot be set, in either format", async () => {
  const numbers = ["NaN", "-1", "1e999", '"NaN"', "0", "-0", "5e-324", "1.7976931348623157e308", "9007199254740993"];
  for (const number of numbers) {
    const entry = `{"name":"m","size":${number},"size_vram":${number},"context_length":${number}}`;
    using asked = new AskedOllama({ ps: saying(`{"models":[${entry},${entry}]}`), tags: listing() });
    const state = await asked.ollama.fetchState();
    for (const format of ["text", "openMetrics"] as const) {
      assertEquals(faultsOf(await asked.metrics.expose(format, state)), [], number);
    }
  }
});
