/** Which loads are found in a course of responses and lists, and their causes. Times are in seconds. */

import { assertEquals } from "@std/assert";
import { LOAD_HISTORY_LIMIT, LOAD_MODELS_LIMIT, ModelLoads } from "../../../lib/analysis/model_loads.ts";
import type { Api, FinishReason, LoadCause, Outcome } from "../../../lib/observation.ts";
import { observationOf } from "../../support/fixtures.ts";

/** A response. */
interface Answer {
  /** When the request arrived, and when it ended. */
  readonly time: readonly [from: number, to: number];
  readonly load?: number;
  /** `num_ctx`; `null` where the options were not read. */
  readonly ctx?: number | null;
  readonly model?: string;
  readonly api?: Api;
  readonly outcome?: Outcome;
  readonly reason?: FinishReason;
  readonly firstOutput?: number;
}

/** Context lengths of the models in memory, by name. `undefined`: they could not be fetched. */
interface List {
  /** When they were requested. */
  readonly at: number;
  readonly loaded: Readonly<Record<string, number>> | undefined;
}

type Event = Answer | List;

const UNKNOWN = { sizeBytes: undefined, vramBytes: undefined, expiresAtSeconds: undefined, runners: [] };

/** Time of the last list, in milliseconds. */
let now = 0;

function happen(loads: ModelLoads, event: Event): LoadCause[] {
  if ("at" in event) {
    const { loaded } = event;
    now = event.at * 1000;
    const models = loaded &&
      Object.entries(loaded).map(([name, contextTokens]) => ({ ...UNKNOWN, name, contextTokens }));
    return loads.update(models && { models, requestedAt: now }).map(({ cause }) => cause);
  }
  const { time: [from, to], load, ctx, model = "m", api = "chat", outcome = "ok", reason, firstOutput } = event;
  const found = loads.observe(observationOf({
    api,
    outcome,
    arrivedAt: from * 1000,
    durationSeconds: to - from,
    firstOutputSeconds: firstOutput,
    requestedModel: model,
    options: ctx === null ? undefined : { contextTokens: ctx, keepTokens: undefined },
    report: { loadSeconds: load, finishReason: reason, model: outcome === "ok" ? model : undefined },
  }));
  return found.map(({ cause }) => cause);
}

/** Returns the causes that each event reveals. */
function causesOf(events: readonly Event[]): LoadCause[][] {
  const loads = new ModelLoads(() => now);
  return events.map((event) => happen(loads, event));
}

const COLD: Answer = { time: [0, 20], load: 10 };
const LISTED: List = { at: 50, loaded: { m: 4096 } };

/** Names of courses; each event with the causes that it reveals. */
const COURSES: Record<string, readonly (readonly [Event, ...LoadCause[]])[]> = {
  "a load of a second is one, a shorter one is not seen": [
    [{ time: [0, 2], load: 0.999 }],
    [{ time: [1000, 1002], load: 1 }, "cold"],
  ],
  "responses that waited for the same load count once, whichever ends first": [
    [{ time: [5, 12], load: 5 }, "cold"],
    [{ time: [1, 13], load: 9 }],
    [{ time: [9.9, 14], load: 1 }],
    [{ time: [0, 300], load: 10 }],
  ],
  "the wait of the response that ends last joins the loads of the others": [
    [{ time: [2, 6], load: 2 }, "cold"],
    [{ time: [10, 14], load: 2 }, "other"],
    [{ time: [3, 300], load: 8 }],
    [{ time: [7, 301], load: 1 }],
  ],
  "responses of other models count by themselves": [
    [COLD, "cold"],
    [{ ...COLD, model: "n" }, "cold"],
    [{ ...COLD, model: "M:latest" }],
  ],
  "the load of a model that runs elsewhere is none of this server's": [
    [{ ...COLD, model: "gpt-oss:120b-cloud" }],
    [{ ...COLD, model: "qwen3:cloud" }],
  ],
  "a second load 5 minutes after an answer ended has another cause, a later one is cold": [
    [COLD, "cold"],
    [{ time: [320, 330], load: 2 }, "other"],
    [{ time: [630.1, 640], load: 2 }, "cold"],
    [{ time: [800, 900] }],
    [{ time: [1200, 1210], load: 2 }, "other"],
  ],
  "an answer is evidence while it runs, and only from when the model was ready": [
    [COLD, "cold"],
    [{ time: [15, 40], load: 11 }, "other"],
    [{ time: [1000, 1100], api: "openai_chat", firstOutput: 10 }],
    [{ time: [1005, 1020], load: 5 }, "cold"],
    [{ time: [2000, 2100], api: "openai_chat", firstOutput: 10 }],
    [{ time: [2011, 2020], load: 5 }, "other"],
  ],
  "an answer that ends after a shorter one is evidence for all of its time": [
    [{ time: [50, 52] }],
    [{ time: [0, 100], load: 0.1 }],
    [{ time: [30, 200], load: 5 }, "other"],
  ],
  "an answer that ended after the load began is no evidence": [
    [{ time: [9, 11], load: 0.1 }],
    [{ time: [0, 20], load: 8 }, "cold"],
  ],
  "an answer of an API without a reported load is evidence, a failure is not": [
    [{ time: [0, 5], api: "openai_embeddings" }],
    [{ time: [10, 20], load: 2 }, "other"],
    [{ time: [1000, 1001], outcome: "server_error" }],
    [{ time: [1010, 1020], load: 2 }, "cold"],
    [{ time: [2000, 2001], outcome: "client_closed" }],
    [{ time: [2010, 2020], load: 2 }, "cold"],
  ],
  "a model that the last list has was in memory, whenever it answered": [
    [LISTED],
    [{ time: [1000, 1010], load: 2 }],
    [{ at: 1020, loaded: { m: 4096 } }, "other"],
    [{ at: 1900, loaded: {} }],
    [{ time: [2000, 2010], load: 2 }, "cold"],
  ],
  "a list is judged as of the load's beginning": [
    [LISTED],
    [{ at: 99, loaded: {} }],
    [{ at: 105, loaded: { m: 4096 } }],
    [{ time: [100, 110], load: 5 }, "cold"],
    [{ at: 1000, loaded: { m: 4096 } }],
    [{ at: 1105, loaded: {} }],
    [{ time: [1100, 1110], load: 5, ctx: 4096 }, "other"],
  ],
  "a list that could not be fetched is no evidence": [
    [LISTED],
    [{ at: 60, loaded: undefined }],
    [{ time: [1000, 1010], load: 2 }, "cold"],
  ],
  "another num_ctx than that of the requests before": [
    [{ ...COLD, ctx: 4096 }, "cold"],
    [{ time: [30, 50], load: 2, ctx: 2048 }, "context_changed"],
    [{ time: [60, 80], load: 2, ctx: 2048 }, "other"],
    [{ time: [90, 99], load: 0.01 }],
    [{ time: [100, 120], load: 2, ctx: 1024 }, "context_changed"],
  ],
  "num_ctx is compared with that of the time before the load": [
    [{ ...COLD, ctx: 4096 }, "cold"],
    [{ time: [40, 45], load: 0.5, ctx: 2048 }],
    [{ time: [30, 60], load: 2, ctx: 2048 }, "context_changed"],
  ],
  "a list from before the last load says nothing of its context length": [
    [LISTED],
    [{ time: [60, 80], load: 2, ctx: 8192 }],
    [{ time: [100, 120], load: 2, ctx: 8192 }, "context_changed", "other"],
  ],
  "a shorter load changes the context length, too": [
    [{ ...COLD, ctx: 4096 }, "cold"],
    [{ time: [30, 50], load: 0.5, ctx: 2048 }],
    [{ time: [60, 80], load: 2, ctx: 2048 }, "other"],
  ],
  "another num_ctx than the one listed": [
    [COLD, "cold"],
    [LISTED],
    [{ time: [60, 80], load: 2, ctx: 2048 }, "context_changed"],
  ],
  "a higher num_ctx waits for the next list: it may be more than the model has": [
    [LISTED],
    [{ time: [60, 80], load: 2, ctx: 8192 }],
    [{ at: 81, loaded: { m: 8192 } }, "context_changed"],
    [{ time: [100, 120], load: 2, ctx: 9999 }],
    [{ at: 121, loaded: { m: 8192 } }, "other"],
    [{ time: [140, 160], load: 2, ctx: 9999 }],
    [{ time: [180, 200], load: 2, ctx: 4096 }, "context_changed", "context_changed"],
  ],
  "a request without num_ctx has the one that is listed after its load": [
    [{ ...COLD, ctx: 8192 }, "cold"],
    [{ time: [30, 50], load: 2 }],
    [{ at: 51, loaded: { m: 4096 } }, "context_changed"],
    [{ time: [60, 80], load: 2, ctx: 8192 }],
    [{ at: 81, loaded: { m: 8192 } }, "context_changed"],
    [{ at: 95, loaded: { m: 4096 } }],
    [{ time: [90, 100], load: 2 }, "context_changed"],
    [{ at: 101, loaded: { m: 4096 } }],
    [{ at: 113, loaded: { m: 4096 } }],
    [{ time: [110, 120], load: 2 }, "other"],
  ],
  "a request without num_ctx keeps the loaded one where no list tells otherwise": [
    [{ ...COLD, ctx: 8192 }, "cold"],
    [{ time: [30, 50], load: 2 }],
    [{ at: 51, loaded: {} }, "other"],
    [{ time: [60, 80], load: 2, ctx: 8192 }, "other"],
    [{ time: [90, 99], load: 2 }],
    [{ at: 100, loaded: undefined }],
    [{ time: [110, 120], load: 2 }, "other", "other"],
  ],
  "a list of before the end of the request tells, too, unless fetching it failed": [
    [{ ...COLD, ctx: 8192 }, "cold"],
    [{ at: 33, loaded: { m: 4096 } }],
    [{ time: [30, 40], load: 2 }, "context_changed"],
    [{ time: [50, 60], load: 2, ctx: 1024 }, "context_changed"],
    [{ at: 73, loaded: undefined }],
    [{ time: [70, 80], load: 2 }],
    [{ at: 81, loaded: { m: 4096 } }, "context_changed"],
  ],
  "options that were not read are as those without num_ctx": [
    [{ ...COLD, ctx: 8192 }, "cold"],
    [{ time: [30, 50], load: 2, ctx: null }],
    [{ at: 51, loaded: { m: 4096 } }, "context_changed"],
  ],
  "a context length of 0 is not known": [
    [{ at: 0, loaded: { m: 0 } }],
    [{ time: [30, 50], load: 2, ctx: 8192 }, "other"],
  ],
  "a request without a prompt loads for as long as it takes, an unload is no evidence": [
    [{ time: [0, 0.9], reason: "load" }],
    [{ time: [1000, 1001.5], reason: "load" }, "cold"],
    [{ time: [2000, 2003], reason: "unload" }],
    [{ time: [2010, 2020], load: 5 }, "cold"],
  ],
};

for (const [name, course] of Object.entries(COURSES)) {
  Deno.test(`ModelLoads: ${name}`, () => {
    assertEquals(causesOf(course.map(([event]) => event)), course.map(([, ...causes]) => causes));
  });
}

Deno.test("ModelLoads finds the same number of loads in any order of ends", () => {
  // Two loads: 0 to 10 and 20 to 30. All but the first and the last arrive while the model is loading.
  const answers: Answer[] = [[0, 10], [2, 8], [9, 1], [20, 10], [25, 5], [29, 1]].map(([from = 0, load = 0]) => ({
    time: [from, from + load + 1],
    load,
  }));
  for (const first of answers) {
    for (const second of answers) {
      const rest = answers.filter((answer) => answer !== first && answer !== second);
      const order = first === second ? [first, ...rest] : [first, second, ...rest];
      assertEquals(causesOf(order).flat().length, 2, JSON.stringify(order));
    }
  }
});

Deno.test("ModelLoads ignores requests of other routes and names that are no models", () => {
  const loads = new ModelLoads(() => now);
  const report = { loadSeconds: 10, model: "m" };
  assertEquals(loads.observe(observationOf({ api: undefined, route: "other", report })), []);
  assertEquals(loads.observe(observationOf({ report: { ...report, model: "a b" } })), []);
  assertEquals(loads.observe(observationOf({ report: { loadSeconds: 10 } })), []);
  assertEquals(loads.observe(observationOf({ report })), [{ model: "m", cause: "cold" }]);
});

Deno.test("ModelLoads remembers a bounded number of models, the last used ones", () => {
  const loads = new ModelLoads(() => now);
  const use = (index: number, at: number): LoadCause[] =>
    happen(loads, { model: `m${index}`, time: [at, at + 5], load: 2 });
  for (let index = 0; index < LOAD_MODELS_LIMIT; index++) assertEquals(use(index, 0), ["cold"]);
  assertEquals(use(0, 10), ["other"]);
  assertEquals(use(LOAD_MODELS_LIMIT, 10), ["cold"]);
  assertEquals([use(1, 20), use(0, 20)], [["cold"], ["other"]], "the first that was not used again is forgotten");
  const many = Object.fromEntries(Array.from({ length: 2 * LOAD_MODELS_LIMIT }, (_, index) => [`n${index}`, 4096]));
  happen(loads, { at: 1000, loaded: many });
  assertEquals(happen(loads, { model: `n${LOAD_MODELS_LIMIT - 1}`, time: [2000, 2005], load: 2, ctx: 1 }), [
    "context_changed",
  ]);
  assertEquals(happen(loads, { model: `n${LOAD_MODELS_LIMIT}`, time: [2000, 2005], load: 2, ctx: 1 }), ["cold"]);
});

Deno.test("ModelLoads remembers a bounded number of a model's loads", () => {
  const loads = new ModelLoads(() => now);
  const load = (index: number): LoadCause[] => happen(loads, { time: [index * 10, index * 10 + 5], load: 2 });
  for (let index = 0; index < LOAD_HISTORY_LIMIT; index++) assertEquals(load(index).length, 1);
  assertEquals(load(0), [], "known");
  for (let index = 1; index <= LOAD_HISTORY_LIMIT; index++) load(index + LOAD_HISTORY_LIMIT);
  assertEquals(load(0).length, 1, "forgotten");
});
