import { assertEquals } from "@std/assert";
import { LOADED_NAMES_LIMIT, ModelLabels } from "../../../lib/metrics/model_labels.ts";
import { OTHER_MODEL, UNKNOWN_MODEL } from "../../../lib/model_name.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

/** Labels, with the clock and the requests in flight of a test. */
class Models {
  readonly labels: ModelLabels;
  now = 0;
  /** The models of the requests in flight. */
  open: string[] = [];

  constructor(limit: number) {
    this.labels = new ModelLabels(limit);
  }

  get #moment(): { now: number; openRequests: { model: string }[] } {
    return { now: this.now, openRequests: this.open.map((model) => ({ model })) };
  }

  /** Lists models. Returns the removed labels. */
  list(lists: { loaded?: string[]; installed?: string[] }): string[] {
    const named = (names: string[] | undefined): { name: string }[] | undefined => names?.map((name) => ({ name }));
    return this.labels.update({ loaded: named(lists.loaded), installed: named(lists.installed) }, this.#moment);
  }

  /** The server responds for the model. Returns its label, and the removed one if there is any. */
  respond(name: string): string[] {
    const { label, removed } = this.labels.use(name, true, this.#moment);
    return removed === undefined ? [label] : [label, removed];
  }

  /** A request for the model fails. Returns its label. */
  fail(name: string | undefined): string {
    return this.labels.use(name, false, this.#moment).label;
  }
}

function named(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}:latest`);
}

Deno.test("ModelLabels.use() returns one label for all spellings of a name: the listed one, or the first", () => {
  const models = new Models(2);
  assertEquals(models.respond("Llama3.2"), ["Llama3.2:latest"]);
  for (const name of ["llama3.2", "LLAMA3.2:LATEST", "registry.ollama.ai/library/llama3.2:latest", " llama3.2 "]) {
    assertEquals(models.respond(name), ["Llama3.2:latest"]);
    assertEquals(models.labels.label(name), "Llama3.2:latest");
  }
  models.list({ installed: ["another", "Qwen3:30b"] });
  assertEquals(models.respond("qwen3:30B"), ["Qwen3:30b", "another:latest"]);
});

Deno.test("ModelLabels.use() adds no label for a name that only failed requests have used", () => {
  const models = new Models(2);
  for (const name of [...named("m", 60), undefined]) assertEquals(models.fail(name), UNKNOWN_MODEL);
  assertEquals(models.labels.label("m59"), UNKNOWN_MODEL);
  assertEquals(models.respond("m59"), ["m59:latest"]);
  assertEquals([models.fail("m59"), models.fail("m58")], ["m59:latest", UNKNOWN_MODEL]);
});

Deno.test("ModelLabels.use() labels the failed request of a listed model with its name", () => {
  const models = new Models(1);
  models.list({ installed: ["a", "b"] });
  assertEquals([models.labels.label("a"), models.labels.label("b")], ["a:latest", OTHER_MODEL]);
  assertEquals(models.fail("b"), "b:latest");
});

Deno.test("ModelLabels.use() returns `other` for names over the limit, and keeps the labels it has", () => {
  const models = new Models(2);
  assertEquals(["a", "b", "c", "d"].flatMap((name) => models.respond(name)), [
    "a:latest",
    "b:latest",
    OTHER_MODEL,
    OTHER_MODEL,
  ]);
  assertEquals(["b", "a", "c"].flatMap((name) => models.respond(name)), ["b:latest", "a:latest", OTHER_MODEL]);
  assertEquals(models.labels.label("a"), "a:latest");
});

Deno.test("ModelLabels returns `unknown` for an invalid name, and does not count it", () => {
  const models = new Models(1);
  for (const name of ["", "a b", "a\nb", "x".repeat(81)]) {
    models.list({ loaded: [name], installed: [name] });
    assertEquals(models.respond(name), [UNKNOWN_MODEL]);
    assertEquals([models.labels.label(name), models.labels.loadedName(name)], [UNKNOWN_MODEL, UNKNOWN_MODEL]);
  }
  assertEquals(models.respond("a"), ["a:latest"]);
});

Deno.test("ModelLabels keeps models named `unknown` and `other` apart from its own labels", () => {
  const models = new Models(3);
  for (const name of [UNKNOWN_MODEL, OTHER_MODEL, "constructor"]) {
    assertEquals(models.labels.label(name), UNKNOWN_MODEL);
    assertEquals(models.respond(name), [`${name}:latest`]);
  }
});

Deno.test("ModelLabels gives labels to used models first, then to loaded ones, then to installed ones", () => {
  const models = new Models(3);
  assertEquals(models.list({ installed: named("i", 4) }), []);
  assertEquals(models.labels.all, [...named("i", 3), OTHER_MODEL]);
  assertEquals(models.list({ loaded: ["l0"] }), ["i0:latest"]);
  assertEquals(models.respond("u0"), ["u0:latest", "i1:latest"]);
  assertEquals(models.labels.all, ["i2:latest", "l0:latest", "u0:latest", OTHER_MODEL]);
  assertEquals(models.labels.active, ["l0:latest", "u0:latest"]);
  assertEquals(models.respond("u1"), ["u1:latest", "i2:latest"]);
  assertEquals(models.respond("u2"), ["u2:latest", "l0:latest"], "a loaded one that nobody uses");
  assertEquals(models.respond("u3"), [OTHER_MODEL]);
  assertEquals(models.list({ loaded: ["l0", "l1"], installed: named("i", 4) }), []);
});

Deno.test("ModelLabels gives all 5 models in use of 260 installed ones their labels", () => {
  const models = new Models(200);
  const installed = named("m", 260);
  models.list({ installed });
  const used = installed.slice(-5);
  assertEquals(used.flatMap((name) => models.respond(name).slice(0, 1)), used);
  models.list({ installed });
  assertEquals(used.map((name) => models.labels.label(name)), used);
  assertEquals(models.labels.all.length, 201);
});

Deno.test("ModelLabels removes a label only for a new name: the longest unused, unlisted, idle for a day", () => {
  const models = new Models(4);
  for (const name of ["old", "older", "open", "listed"]) {
    models.now += 1;
    models.respond(name);
  }
  models.now += 1;
  models.respond("old");
  models.list({ installed: ["listed"] });
  models.open = ["OPEN"];
  models.now = DAY_MS;
  assertEquals(models.respond("new"), [OTHER_MODEL], "none is unused for a day");
  models.now = DAY_MS + 10;
  assertEquals(models.list({ installed: ["listed", "another"] }), [], "an installed one does not need it");
  assertEquals(models.labels.label("older"), "older:latest", "as long as nobody needs it");
  assertEquals(models.respond("new"), ["new:latest", "older:latest"]);
  assertEquals(models.list({ loaded: ["loaded"] }), ["old:latest"]);
  models.now += 2 * DAY_MS;
  models.respond("new");
  models.respond("loaded");
  assertEquals(models.respond("newer"), [OTHER_MODEL], "the others are listed, in flight, or in use");
  models.open = [];
  assertEquals(models.respond("newer"), ["newer:latest", "open:latest"]);
});

Deno.test("ModelLabels keeps the label of an unused model that is in flight or has been removed from disk", () => {
  const models = new Models(2);
  models.list({ installed: ["a", "b"] });
  models.open = ["a"];
  models.list({ installed: ["b"] });
  assertEquals(models.labels.all, ["a:latest", "b:latest"]);
  models.open = [];
  assertEquals(models.list({ installed: ["b", "c"] }), ["a:latest"], "it gives way to any other");
  models.open = ["b", "c"];
  assertEquals(models.respond("d"), [OTHER_MODEL]);
});

Deno.test("ModelLabels keeps its lists while the server does not answer", () => {
  const models = new Models(2);
  models.list({ loaded: ["a"], installed: ["a", "b"] });
  models.list({});
  assertEquals(models.labels.active, ["a:latest"]);
  models.list({ loaded: [] });
  assertEquals(models.labels.active, []);
});

Deno.test("ModelLabels.loadedName() returns the name of a loaded model that has no label, up to a limit", () => {
  const models = new Models(1);
  models.respond("a");
  models.list({ loaded: named("l", LOADED_NAMES_LIMIT + 1) });
  const names = [0, LOADED_NAMES_LIMIT - 1, LOADED_NAMES_LIMIT].map((index) => `l${index}`);
  assertEquals(names.map((name) => models.labels.loadedName(name)), [
    "l0:latest",
    `l${LOADED_NAMES_LIMIT - 1}:latest`,
    OTHER_MODEL,
  ]);
  assertEquals(models.labels.label("l0"), OTHER_MODEL);
});
