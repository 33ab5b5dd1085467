/** Parsers of the status responses: whatever a server sends, values are valid or absent. */

import { assertEquals, assertThrows } from "@std/assert";
import {
  LABEL_LIMIT_CHARACTERS,
  type LoadedModel,
  MODELS_LIMIT,
  parseInstalled,
  parseLoaded,
  parseVersion,
  type Runner,
  serverState,
} from "../../../lib/ollama/state.ts";
import { NAME_LIMIT_BYTES } from "../../../lib/model_name.ts";
import { REPOSITORY } from "../../support/fixtures.ts";

/** A recorded response. */
function fixture(name: string): unknown {
  return JSON.parse(Deno.readTextFileSync(new URL(`tests/fixtures/${name}.json`, REPOSITORY)));
}

/** An entry of `/api/ps`. */
const ENTRY = {
  name: "llama3.2:latest",
  model: "llama3.2:latest",
  size: 3000,
  digest: "a80c",
  details: {
    format: "gguf",
    family: "llama",
    families: ["llama"],
    parameter_size: "3.2B",
    quantization_level: "Q4_K_M",
  },
  expires_at: "2026-08-21T12:05:00.123456789+02:00",
  size_vram: 2000,
  context_length: 4096,
};
const DETAILS: Runner = {
  digest: "a80c",
  family: "llama",
  format: "gguf",
  parameterSize: "3.2B",
  quantizationLevel: "Q4_K_M",
  contextTokens: 4096,
};
const LOADED: LoadedModel = {
  name: "llama3.2:latest",
  sizeBytes: 3000,
  vramBytes: 2000,
  contextTokens: 4096,
  expiresAtSeconds: Date.UTC(2026, 7, 21, 10, 5, 0, 123) / 1000,
  runners: [DETAILS],
};
/** A model of which nothing but the name is known. */
const BARE: LoadedModel = {
  name: "llama3.2",
  sizeBytes: undefined,
  vramBytes: undefined,
  contextTokens: undefined,
  expiresAtSeconds: undefined,
  runners: [{ digest: "", family: "", format: "", parameterSize: "", quantizationLevel: "", contextTokens: undefined }],
};

Deno.test("parseVersion() returns the version, shortened to the limit", () => {
  assertEquals(parseVersion(fixture("version")), "0.33.0");
  assertEquals(parseVersion({ version: "1".repeat(100_000) }), "1".repeat(LABEL_LIMIT_CHARACTERS));
});

Deno.test("parseVersion() rejects a response without a version", () => {
  const responses = [
    {},
    { version: "" },
    { version: 33 },
    { Version: "0.33.0" },
    { error: "x" },
    [],
    null,
    "0.33.0",
    5,
  ];
  for (const response of responses) {
    assertThrows(() => parseVersion(response), Error, "no version in the response", JSON.stringify(response));
  }
});

Deno.test("parseLoaded() and parseInstalled() return the listed models", () => {
  const other = { ...ENTRY, name: "me/other:7b", size: 50, size_vram: 0 };
  assertEquals(parseLoaded({ models: [ENTRY, other] }), [LOADED, {
    ...LOADED,
    name: "me/other:7b",
    sizeBytes: 50,
    vramBytes: 0,
  }]);
  assertEquals(parseInstalled({ models: [ENTRY, other] }), [
    { name: "llama3.2:latest", sizeBytes: 3000 },
    { name: "me/other:7b", sizeBytes: 50 },
  ]);
  assertEquals(parseLoaded(fixture("ps")).map(({ name }) => name), ["llama3.2:latest", "qwen3:latest"]);
  assertEquals(parseInstalled(fixture("tags")).length, 3);
});

for (const parse of [parseLoaded, parseInstalled]) {
  Deno.test(`${parse.name}() accepts a list that is empty or null`, () => {
    assertEquals(parse({ models: [] }), []);
    assertEquals(parse({ models: null }), []);
  });

  Deno.test(`${parse.name}() rejects a response without a list of models`, () => {
    for (const response of [{}, { models: { 0: ENTRY } }, { Models: [] }, { error: "x" }, [], null, "models", 5]) {
      assertThrows(() => parse(response), Error, "no list of models in the response", JSON.stringify(response));
    }
  });

  Deno.test(`${parse.name}() skips entries without a name`, () => {
    const nameless = [{ ...ENTRY, name: undefined, model: undefined }, { ...ENTRY, name: 5 }, { ...ENTRY, name: "" }];
    assertEquals(parse({ models: [...nameless, "no entry", null, 5, []] }), []);
  });

  Deno.test(`${parse.name}() lists a model once for all its entries, however many`, () => {
    const models = Array(MODELS_LIMIT).fill({ name: "m", size: 1, context_length: 1 });
    const [model, ...others] = parse({ models });
    assertEquals([model?.name, model?.sizeBytes, others.length], ["m", MODELS_LIMIT, 0]);
  });
}

Deno.test("parseLoaded() sums the memory of a model's runners and takes the maximum of the rest", () => {
  const mlx = { ...ENTRY, runner: "mlx", size: 10, size_vram: 5, context_length: 8192, digest: "b2" };
  const models = [{ ...ENTRY, runner: "llamacpp", expires_at: "2020-01-01T00:00:00Z" }, mlx, { ...mlx, size: 1 }];
  assertEquals(parseLoaded({ models }), [{
    ...LOADED,
    sizeBytes: 3011,
    vramBytes: 2010,
    contextTokens: 8192,
    runners: [DETAILS, ...Array(2).fill({ ...DETAILS, digest: "b2", contextTokens: 8192 })],
  }]);
});

/** The same members, all of them `null`. */
function nulls(value: object): Record<string, null> {
  return Object.fromEntries(Object.keys(value).map((key) => [key, null]));
}

/** Entries of `/api/ps` with missing or invalid fields, and the valid ones. */
const ODD_ENTRIES: [string, unknown, Partial<LoadedModel>][] = [
  ["no details", { name: "llama3.2", size: 1, size_vram: 0, digest: "a80c" }, {
    sizeBytes: 1,
    vramBytes: 0,
    runners: [{
      ...DETAILS,
      family: "",
      format: "",
      parameterSize: "",
      quantizationLevel: "",
      contextTokens: undefined,
    }],
  }],
  ["nothing but a name", { name: "llama3.2" }, {}],
  ["a name under `model` only", { model: "llama3.2" }, {}],
  ["null for everything but its name", { ...nulls(ENTRY), name: "llama3.2" }, {}],
  ["texts for numbers", { name: "llama3.2", size: "1", size_vram: "2", context_length: "3" }, {}],
  ["lists for details", { name: "llama3.2", details: [[1], 2], digest: ["x"] }, {}],
  [
    "numbers for details",
    { name: "llama3.2", details: { family: 1, format: {}, parameter_size: null }, digest: 7 },
    {},
  ],
  ["negative numbers", { name: "llama3.2", size: -1, size_vram: -5, context_length: -3 }, {}],
  ["numbers that are not finite", { name: "llama3.2", size: Infinity, size_vram: NaN, context_length: -0 }, {
    contextTokens: -0,
    runners: [{ digest: "", family: "", format: "", parameterSize: "", quantizationLevel: "", contextTokens: -0 }],
  }],
];

for (const [name, entry, expected] of ODD_ENTRIES) {
  Deno.test(`parseLoaded() keeps the valid fields of an entry with ${name}`, () => {
    assertEquals(parseLoaded({ models: [entry, "no entry", null] }), [{ ...BARE, ...expected }]);
  });
}

/** Values of `expires_at`, and the timestamp that they mean. */
const EXPIRIES: [unknown, number | undefined][] = [
  ["2318-12-01T10:11:12.345678901+01:00", Date.UTC(2318, 11, 1, 9, 11, 12, 345) / 1000],
  ["2026-08-20T12:05:00Z", Date.UTC(2026, 7, 20, 12, 5) / 1000],
  ["1999-12-31T23:59:59-08:00", Date.UTC(2000, 0, 1, 7, 59, 59) / 1000],
  // Go's zero time.
  ["0001-01-01T00:00:00Z", undefined],
  ["2026-13-45T99:00:00Z", undefined],
  ["soon", undefined],
  // `Date.parse` accepts these two.
  ["soon 5", undefined],
  ["5", undefined],
  ["", undefined],
  [1_787_306_400, undefined],
  [null, undefined],
  [["2026-08-20T12:05:00Z"], undefined],
];

for (const [value, expected] of EXPIRIES) {
  Deno.test(`parseLoaded() parses the expiry ${JSON.stringify(value)} as ${expected}`, () => {
    assertEquals(parseLoaded({ models: [{ ...ENTRY, expires_at: value }] }), [{
      ...LOADED,
      expiresAtSeconds: expected,
    }]);
  });
}

Deno.test("parseLoaded() shortens long texts without splitting a character", () => {
  const long = "x".repeat(100_000);
  const entry = { ...ENTRY, digest: long, details: { family: `a"b\\c\nd`, format: "x".repeat(127) + "🦙" } };
  const [details] = parseLoaded({ models: [entry] })[0]?.runners ?? [];
  assertEquals(details?.digest, "x".repeat(LABEL_LIMIT_CHARACTERS));
  assertEquals(details?.family, 'a"b\\c\nd');
  assertEquals(details?.format, "x".repeat(127) + "\ufffd");
});

Deno.test("serverState() has no value and the error of a probe that failed", () => {
  const version = { answer: "0.33.0", error: undefined, durationSeconds: 0.25 };
  const ps = { answer: undefined, error: "/api/ps: unexpected status 500", durationSeconds: 1 };
  const tags = { answer: [], error: undefined, durationSeconds: 0.5 };
  assertEquals(serverState({ version, ps, tags }, 7), {
    at: 7,
    version: "0.33.0",
    loaded: undefined,
    installed: [],
    probes: {
      version: { error: undefined, durationSeconds: 0.25 },
      ps: { error: "/api/ps: unexpected status 500", durationSeconds: 1 },
      tags: { error: undefined, durationSeconds: 0.5 },
    },
  });
});

Deno.test("parseInstalled() and parseLoaded() accept as many models as the limit, and fail beyond", () => {
  for (const parse of [parseInstalled, parseLoaded]) {
    const models = Array.from({ length: MODELS_LIMIT }, (_, index) => ({ name: `m${index}` }));
    assertEquals(parse({ models }).length, MODELS_LIMIT);
    assertThrows(() => parse({ models: [...models, { name: "m" }] }), Error, "exceeds 10000 models");
  }
});

Deno.test("parseInstalled() and parseLoaded() leave out models whose name is over the limit", () => {
  const models = [{ name: "x".repeat(NAME_LIMIT_BYTES) }, { name: "x".repeat(NAME_LIMIT_BYTES + 1) }];
  for (const parse of [parseInstalled, parseLoaded]) {
    assertEquals(parse({ models }).map(({ name }) => name.length), [NAME_LIMIT_BYTES]);
  }
});
