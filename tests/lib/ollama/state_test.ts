/** What the server says of itself, whatever it says: the series are right, or they are not there. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type Answer,
  AskedOllama,
  hanging,
  listing,
  type Question,
  QUESTIONS,
  refusing,
  saying,
} from "../../support/asked_ollama.ts";
import { ANSWER_LIMIT_CHARACTERS } from "../../../lib/ollama/ollama.ts";
import { REPOSITORY } from "../../support/fixtures.ts";
import { Scrape } from "../../support/helpers.ts";

/** Short, since some answers never come; long enough for those that are there at once. */
const TIMEOUT_MS = 400;

/** An answer of a real server. */
function fixture(name: string): Answer {
  return saying(Deno.readTextFileSync(new URL(`tests/fixtures/${name}`, REPOSITORY)));
}

/** The series of these metrics, a line each and sorted; names are without `ollama_`. */
function series({ text }: Scrape, name: RegExp): string[] {
  const lines = text.split("\n").filter((line) => line.startsWith("ollama_")).map((line) =>
    line.slice("ollama_".length)
  );
  return lines.filter((line) => name.test(line)).sort();
}

/** A model as `/api/ps` lists it. */
const LLAMA = {
  name: "llama3.2:latest",
  model: "llama3.2:latest",
  size: 3000,
  digest: "a80c",
  details: { format: "gguf", family: "llama", parameter_size: "3.2B", quantization_level: "Q4_K_M" },
  expires_at: "2026-08-21T12:05:00.123456789+02:00",
  size_vram: 2000,
  context_length: 4096,
};
const LLAMA_INFO = 'loaded_model_info{model="llama3.2:latest",digest="a80c",family="llama",format="gguf",' +
  'parameter_size="3.2B",quantization_level="Q4_K_M"} 1';
const EXPIRY = Date.UTC(2026, 7, 21, 10, 5, 0, 123) / 1000;

Deno.test("Ollama.refresh() tells of the version, the loaded and the installed models", async () => {
  using asked = new AskedOllama({
    version: fixture("version.json"),
    ps: listing(LLAMA, { ...LLAMA, name: "me/other:7b", size: 50, size_vram: 0, context_length: 8192, digest: "b1" }),
    tags: listing({ name: "llama3.2:latest", size: 1500 }, { name: "qwen3:latest", size: 5000 }),
  });
  const scrape = await asked.scrape();
  assertEquals(series(scrape, /^(up|version|loaded|installed)/), [
    'installed_model_size_bytes{model="llama3.2:latest"} 1500',
    'installed_model_size_bytes{model="qwen3:latest"} 5000',
    "installed_models 2",
    'loaded_model_context_tokens{model="llama3.2:latest"} 4096',
    'loaded_model_context_tokens{model="me/other:7b"} 8192',
    `loaded_model_expiry_timestamp_seconds{model="llama3.2:latest"} ${EXPIRY}`,
    `loaded_model_expiry_timestamp_seconds{model="me/other:7b"} ${EXPIRY}`,
    LLAMA_INFO,
    LLAMA_INFO.replace("llama3.2:latest", "me/other:7b").replace("a80c", "b1"),
    'loaded_model_size_bytes{model="llama3.2:latest"} 3000',
    'loaded_model_size_bytes{model="me/other:7b"} 50',
    'loaded_model_vram_bytes{model="llama3.2:latest"} 2000',
    'loaded_model_vram_bytes{model="me/other:7b"} 0',
    "loaded_models 2",
    "up 1",
    'version_info{version="0.33.0"} 1',
  ]);
  for (const probe of QUESTIONS) {
    assertEquals(scrape.value("ollama_exporter_probe_success", { probe }), 1);
    assert((scrape.value("ollama_exporter_probe_duration_seconds", { probe }) ?? -1) >= 0);
  }
  assertEquals(
    asked.asked.sort(),
    ["ps", "tags", "version"].map((name) => `http://ollama.test:11434/base/api/${name}`),
  );
});

for (const [name, list] of Object.entries({ "an empty list": '{"models":[]}', null: '{"models":null}' })) {
  Deno.test(`Ollama.refresh() takes ${name} for no models`, async () => {
    using asked = new AskedOllama({ ps: saying(list), tags: saying(list) });
    const scrape = await asked.scrape();
    assertEquals(series(scrape, /^(loaded|installed)/), ["installed_models 0", "loaded_models 0"]);
    for (const probe of QUESTIONS) assertEquals(scrape.value("ollama_exporter_probe_success", { probe }), 1, probe);
  });
}

Deno.test("Ollama.refresh() adds up the runners of a model, and gives no series twice", async () => {
  const mlx = { ...LLAMA, runner: "mlx", size: 10, size_vram: 5, context_length: 8192, digest: "b2" };
  using asked = new AskedOllama({
    ps: listing({ ...LLAMA, runner: "llamacpp", expires_at: "2020-01-01T00:00:00Z" }, mlx, { ...mlx, size: 1 }),
    tags: fixture("tags_0_40.json"),
  });
  assertEquals(series(await asked.scrape(), /^(loaded|installed)/), [
    'installed_model_size_bytes{model="llama3.2:latest"} 4038786378',
    "installed_models 1",
    'loaded_model_context_tokens{model="llama3.2:latest"} 8192',
    `loaded_model_expiry_timestamp_seconds{model="llama3.2:latest"} ${EXPIRY}`,
    LLAMA_INFO,
    LLAMA_INFO.replace("a80c", "b2"),
    'loaded_model_size_bytes{model="llama3.2:latest"} 3011',
    'loaded_model_vram_bytes{model="llama3.2:latest"} 2010',
    "loaded_models 1",
  ]);
});

Deno.test("Ollama.refresh() gives one series to names that mean one model", async () => {
  const names = ["llama3.2", "library/llama3.2:latest", "registry.ollama.ai/library/LLAMA3.2:latest"];
  using asked = new AskedOllama({ ps: listing(...names.map((name) => ({ ...LLAMA, name }))) });
  const scrape = await asked.scrape();
  assertEquals(series(scrape, /^loaded_model_size/), ['loaded_model_size_bytes{model="llama3.2:latest"} 9000']);
  assertEquals(series(scrape, /^loaded_model_info/), [LLAMA_INFO]);
});

const EMPTY_INFO = 'loaded_model_info{model="llama3.2:latest",digest="",family="",format="",parameter_size="",' +
  'quantization_level=""} 1';

/** Entries of `/api/ps` that lack something, and what is left of them. */
const ODD_ENTRIES: [string, unknown, string[]][] = [
  ["no details", { name: "llama3.2:latest", size: 1, size_vram: 0, digest: "a80c" }, [
    EMPTY_INFO.replace('digest=""', 'digest="a80c"'),
    'loaded_model_size_bytes{model="llama3.2:latest"} 1',
    'loaded_model_vram_bytes{model="llama3.2:latest"} 0',
    "loaded_models 1",
  ]],
  ["nothing but a name", { name: "llama3.2" }, [EMPTY_INFO, "loaded_models 1"]],
  ["a name under `model` only", { model: "llama3.2" }, [EMPTY_INFO, "loaded_models 1"]],
  ["null for everything but its name", { ...nulls(LLAMA), name: "llama3.2" }, [EMPTY_INFO, "loaded_models 1"]],
  ["no name", { ...LLAMA, name: undefined, model: undefined }, ["loaded_models 0"]],
  ["a number for a name", { ...LLAMA, name: 5 }, ["loaded_models 0"]],
  ["texts for numbers", { name: "llama3.2", size: "1", size_vram: "2", context_length: "3" }, [
    EMPTY_INFO,
    "loaded_models 1",
  ]],
  ["lists for details", { name: "llama3.2", details: [[1], 2], digest: ["x"] }, [EMPTY_INFO, "loaded_models 1"]],
  ["numbers for details", { name: "llama3.2", details: { family: 1, format: {}, parameter_size: null }, digest: 7 }, [
    EMPTY_INFO,
    "loaded_models 1",
  ]],
  ["negative numbers", { name: "llama3.2", size: -1, size_vram: -5, context_length: -3 }, [
    EMPTY_INFO,
    "loaded_models 1",
  ]],
];

/** The same members, all of them `null`. */
function nulls(value: object): Record<string, null> {
  return Object.fromEntries(Object.keys(value).map((key) => [key, null]));
}

for (const [name, entry, expected] of ODD_ENTRIES) {
  Deno.test(`Ollama.refresh() takes what it can from an entry with ${name}`, async () => {
    using asked = new AskedOllama({ ps: listing(entry, "no entry", null, 5, []) });
    const scrape = await asked.scrape();
    assertEquals(series(scrape, /^loaded/), expected);
    assertEquals(scrape.value("ollama_exporter_probe_success", { probe: "ps" }), 1);
  });
}

Deno.test("Ollama.refresh() takes no number that is none for a size", async () => {
  using asked = new AskedOllama({ ps: saying('{"models":[{"name":"m","size":1e999,"context_length":-0.0}]}') });
  const scrape = await asked.scrape();
  assertEquals(series(scrape, /^loaded_model_(size|context)/), ['loaded_model_context_tokens{model="m:latest"} 0']);
});

/** Values of `expires_at`, and the timestamp that they mean. */
const EXPIRIES: [unknown, number | undefined][] = [
  ["2318-12-01T10:11:12.345678901+01:00", Date.UTC(2318, 11, 1, 9, 11, 12, 345) / 1000],
  ["2026-08-20T12:05:00Z", Date.UTC(2026, 7, 20, 12, 5) / 1000],
  ["1999-12-31T23:59:59-08:00", Date.UTC(2000, 0, 1, 7, 59, 59) / 1000],
  // Go's zero time.
  ["0001-01-01T00:00:00Z", undefined],
  ["2026-13-45T99:00:00Z", undefined],
  ["soon", undefined],
  // In these `Date.parse` finds a date.
  ["soon 5", undefined],
  ["5", undefined],
  ["", undefined],
  [1_787_306_400, undefined],
  [null, undefined],
  [["2026-08-20T12:05:00Z"], undefined],
];

for (const [value, expected] of EXPIRIES) {
  Deno.test(`Ollama.refresh() takes ${JSON.stringify(value)} for the expiry ${expected}`, async () => {
    using asked = new AskedOllama({ ps: listing({ ...LLAMA, expires_at: value }) });
    const scrape = await asked.scrape();
    assertEquals(scrape.value("ollama_loaded_model_expiry_timestamp_seconds"), expected);
    assertEquals(scrape.value("ollama_loaded_models"), 1);
  });
}

Deno.test("Ollama.refresh() leaves no series of models that are gone, and none of another version", async () => {
  using asked = new AskedOllama({ ps: listing(LLAMA), tags: listing(LLAMA, { name: "qwen3:latest", size: 1 }) });
  const before = await asked.scrape();
  assertEquals(before.labelValues("model"), ["llama3.2:latest", "qwen3:latest"]);
  asked.answers.ps = listing({ ...LLAMA, name: "gemma:2b" });
  asked.answers.tags = listing({ name: "gemma:2b", size: 7 });
  asked.answers.version = saying('{"version":"0.40.1"}');
  const after = await asked.scrape();
  assertEquals(after.labelValues("model"), ["gemma:2b"]);
  assertEquals(after.labelValues("version"), ["0.40.1"]);
  // The same model with another quantisation is not there twice.
  asked.answers.ps = listing({ ...LLAMA, details: { ...LLAMA.details, quantization_level: "Q8_0" } });
  assertEquals((await asked.scrape()).labelValues("quantization_level"), ["Q8_0"]);
});

/** Answers that are none. */
const FAILURES: Record<string, Answer> = {
  "status 500": saying('{"version":"0.33.0","models":[]}', 500),
  "status 404": saying("404 page not found", 404),
  "a redirect": () => new Response(null, { status: 307, headers: { location: "/" } }),
  "no JSON": saying('{"version":"0.33.0","models":['),
  "nothing": saying(""),
  "a list": saying("[]"),
  "null": saying("null"),
  "a text": saying('"0.33.0"'),
  "other members": saying('{"Version":"0.33.0","Models":[]}'),
  "members of other types": saying('{"version":33,"models":{"0":{"name":"m"}}}'),
  "an error": saying('{"error":"unauthorized"}'),
  "silence": hanging,
  "a refused connection": refusing,
  "a body that breaks off": () => new Response(ReadableStream.from(broken())),
};

async function* broken(): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode('{"version":"0.33.0","models":[]}');
  await Promise.resolve();
  throw new TypeError("error reading a body from connection");
}

/** The series of each question's answer. */
const SERIES: Record<Question, RegExp> = { version: /^version/, ps: /^loaded/, tags: /^installed/ };

for (const [name, answer] of Object.entries(FAILURES)) {
  for (const failing of QUESTIONS) {
    Deno.test(`Ollama.refresh() marks the probe of ${failing} failed by ${name}, and leaves the rest`, async () => {
      using asked = new AskedOllama({ ps: listing(LLAMA), tags: listing(LLAMA) }, { timeoutMs: TIMEOUT_MS });
      const well = await asked.scrape();
      asked.answers[failing] = answer;
      const scrape = await asked.scrape();
      for (const question of QUESTIONS) {
        const isWell = question !== failing;
        assertEquals(scrape.value("ollama_exporter_probe_success", { probe: question }), isWell ? 1 : 0, question);
        assertEquals(series(scrape, SERIES[question]), isWell ? series(well, SERIES[question]) : [], question);
      }
      assertEquals(scrape.value("ollama_up"), failing === "version" ? 0 : 1);
    });
  }
}

Deno.test("Ollama.version() says in one line why there is none", async () => {
  using asked = new AskedOllama({}, { timeoutMs: TIMEOUT_MS });
  assertEquals(await asked.ollama.version(), "0.33.0");
  const reasons: [Answer, string][] = [
    [hanging, `/api/version: no answer within ${TIMEOUT_MS} ms`],
    [refusing, "/api/version: "],
    [saying("", 503), "/api/version: status 503"],
    [saying("{}"), "/api/version: no version in the answer"],
    [saying("<html>"), "/api/version: "],
  ];
  for (const [answer, expected] of reasons) {
    asked.answers.version = answer;
    const { message } = await assertRejects(() => asked.ollama.version(), Error);
    assert(message.startsWith(expected) && !message.includes("\n"), message);
  }
});

Deno.test("Ollama.refresh() shares the label `other` among the models beyond the limit", async () => {
  const many = Array.from({ length: 50 }, (_, i) => ({ ...LLAMA, name: `m${i}`, digest: `d${i}` }));
  using asked = new AskedOllama({ ps: listing(...many), tags: listing(...many) }, { modelLimit: 3 });
  const scrape = await asked.scrape();
  assertEquals(scrape.labelValues("model"), ["m0:latest", "m1:latest", "m2:latest", "other"]);
  assertEquals([scrape.value("ollama_loaded_models"), scrape.value("ollama_installed_models")], [50, 50]);
  for (const name of ["ollama_loaded_model_size_bytes", "ollama_installed_model_size_bytes"]) {
    assertEquals(scrape.value(name, { model: "other" }), 47 * 3000);
    assertEquals(scrape.value(name), 50 * 3000);
  }
  // What cannot be added up is not said of many models at once.
  assertEquals(scrape.value("ollama_loaded_model_expiry_timestamp_seconds", { model: "other" }), undefined);
  assertEquals(scrape.labelValues("digest"), ["d0", "d1", "d2"]);
});

Deno.test("Ollama.refresh() cuts long values of labels, and takes what is no name for no name", async () => {
  const long = "x".repeat(100_000);
  const odd = { ...LLAMA, digest: long, details: { family: `a"b\\c\nd`, format: "x".repeat(127) + "🦙" } };
  using asked = new AskedOllama({
    version: saying(JSON.stringify({ version: long })),
    ps: listing(odd, { ...LLAMA, name: long }, { ...LLAMA, name: 'evil"} 1\nollama_up 5' }),
  });
  const scrape = await asked.scrape();
  for (const label of ["version", "digest"]) {
    assertEquals(Math.max(...scrape.labelValues(label).map(({ length }) => length)), 128, label);
  }
  assertEquals(scrape.labelValues("model"), ["llama3.2:latest", "unknown"]);
  assertEquals(scrape.labelValues("family")[0], 'a\\"b\\\\c\\nd');
  // Half of a character would be another character on the wire.
  assert(scrape.text.isWellFormed());
  assertEquals(scrape.value("ollama_up"), 1);
});

Deno.test("Ollama.refresh() stands a list that names one model two hundred thousand times", async () => {
  using asked = new AskedOllama({
    ps: saying(`{"models":[${Array(200_000).fill('{"name":"m","context_length":1}')}]}`),
  });
  const scrape = await asked.scrape();
  assertEquals([scrape.value("ollama_loaded_models"), scrape.value("ollama_loaded_model_context_tokens")], [1, 1]);
});

Deno.test("Ollama.state is what the last refresh found, and refreshOlder() waits for another where that is old", async () => {
  using asked = new AskedOllama({ ps: listing(LLAMA, { ...LLAMA, size: 1 }), tags: saying("") });
  assertEquals(asked.ollama.state, undefined);
  await asked.ollama.refreshOlder(60_000);
  const { at, ...state } = asked.ollama.state ?? {};
  assertEquals(state, {
    version: "0.33.0",
    error: undefined,
    loaded: [{
      name: "llama3.2:latest",
      sizeBytes: 3001,
      vramBytes: 4000,
      contextTokens: 4096,
      expiresAtSeconds: EXPIRY,
      parameterSize: "3.2B",
      quantization: "Q4_K_M",
    }],
    installedModels: undefined,
  });
  await asked.ollama.refreshOlder(60_000);
  assertEquals(asked.ollama.state?.at, at);
  asked.answers.version = saying("{}");
  await asked.ollama.refreshOlder(-1);
  assertEquals(asked.ollama.state?.version, undefined);
  assertEquals(asked.ollama.state?.error, "/api/version: no version in the answer");
});

Deno.test("Ollama.refresh() reads an answer that is as long as the limit, and no longer one", async () => {
  for (const excess of [0, 1]) {
    const text = '{"version":"1"}'.padEnd(ANSWER_LIMIT_CHARACTERS + excess);
    using asked = new AskedOllama({ version: saying(text) });
    assertEquals((await asked.scrape()).value("ollama_up"), 1 - excess);
  }
});
