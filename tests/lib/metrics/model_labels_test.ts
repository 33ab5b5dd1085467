import { assertEquals } from "@std/assert";
import { ModelLabels } from "../../../lib/metrics/model_labels.ts";
import { OTHER_MODEL, UNKNOWN_MODEL } from "../../../lib/model_name.ts";

Deno.test("ModelLabels.learn() returns one label for all spellings of a name, the first one", () => {
  const models = new ModelLabels(1);
  assertEquals(models.learn("Llama3.2"), "Llama3.2:latest");
  for (const name of ["llama3.2", "LLAMA3.2:LATEST", "registry.ollama.ai/library/llama3.2:latest", " llama3.2 "]) {
    assertEquals(models.learn(name), "Llama3.2:latest");
    assertEquals(models.label(name), "Llama3.2:latest");
  }
});

Deno.test("ModelLabels.label() adds no label for a name that only requests have used", () => {
  const models = new ModelLabels(2);
  for (let index = 0; index < 60; index++) assertEquals(models.label(`model-${index}`), UNKNOWN_MODEL);
  assertEquals(models.label(undefined), UNKNOWN_MODEL);
  assertEquals(models.learn("model-59"), "model-59:latest");
  assertEquals(models.label("model-59"), "model-59:latest");
  assertEquals(models.label("model-58"), UNKNOWN_MODEL);
});

Deno.test("ModelLabels.learn() returns `other` for names over the limit, and keeps the labels it has", () => {
  const models = new ModelLabels(2);
  assertEquals(["a", "b", "c", "d"].map((name) => models.learn(name)), ["a:latest", "b:latest", "other", "other"]);
  assertEquals(["b", "a", "c"].map((name) => models.learn(name)), ["b:latest", "a:latest", "other"]);
  assertEquals(models.label("a"), "a:latest");
});

Deno.test("ModelLabels returns `unknown` for an invalid name, and does not count it", () => {
  const models = new ModelLabels(1);
  for (const name of ["", "a b", "a\nb", "x".repeat(81)]) {
    assertEquals(models.learn(name), UNKNOWN_MODEL);
    assertEquals(models.label(name), UNKNOWN_MODEL);
  }
  assertEquals(models.learn("a"), "a:latest");
});

Deno.test("ModelLabels keeps models named `unknown` and `other` apart from its own labels", () => {
  const models = new ModelLabels(3);
  for (const name of [UNKNOWN_MODEL, OTHER_MODEL, "constructor"]) {
    assertEquals(models.label(name), UNKNOWN_MODEL);
    assertEquals(models.learn(name), `${name}:latest`);
  }
});
