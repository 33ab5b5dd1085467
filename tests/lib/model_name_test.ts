import { assertEquals } from "@std/assert";
import { ModelLabels } from "../../lib/metrics/model_labels.ts";
import { canonicalModelName, OTHER_MODEL, UNKNOWN_MODEL } from "../../lib/model_name.ts";

/** Section 8.4 of the API: what `/api/ps` and `/api/tags` would show. `undefined`: no name of a model. */
const NAMES: Record<string, string | undefined> = {
  "llama3.2": "llama3.2:latest",
  "llama3.2:latest": "llama3.2:latest",
  "llama3.2:1b-instruct-q4_K_M": "llama3.2:1b-instruct-q4_K_M",
  "  llama3.2 \n": "llama3.2:latest",
  "library/llama3.2": "llama3.2:latest",
  "Library/llama3.2:3b": "llama3.2:3b",
  "registry.ollama.ai/library/llama3.2": "llama3.2:latest",
  "Registry.Ollama.AI/library/llama3.2": "llama3.2:latest",
  "https://registry.ollama.ai/library/llama3.2:3b": "llama3.2:3b",
  "registry.ollama.ai/me/foo": "me/foo:latest",
  "me/foo": "me/foo:latest",
  "me/foo:1": "me/foo:1",
  "hf.co/u/Repo-GGUF:Q4_K_M": "hf.co/u/Repo-GGUF:Q4_K_M",
  "HF://hf.co/u/Repo-GGUF": "hf.co/u/Repo-GGUF:latest",
  "localhost:5000/library/foo:1": "localhost:5000/library/foo:1",
  "gpt-oss:120b-cloud": "gpt-oss:120b-cloud",
  "gpt-oss:cloud": "gpt-oss:cloud",
  "gpt-oss:120b:cloud": "gpt-oss:120b:cloud",
  "gpt-oss:120b:CLOUD": "gpt-oss:120b:cloud",
  "gpt-oss:120b:local": "gpt-oss:120b",
  "gpt-oss:local": "gpt-oss:latest",
  "gpt-oss:LOCAL": "gpt-oss:latest",
  "LLaMa3.2:Latest": "LLaMa3.2:Latest",
  "_a": "_a:latest",
  ["m".repeat(80)]: `${"m".repeat(80)}:latest`,
  ["m".repeat(81)]: undefined,
  [`m:${"t".repeat(80)}`]: `m:${"t".repeat(80)}`,
  [`m:${"t".repeat(81)}`]: undefined,
  [`${"n".repeat(81)}/m`]: undefined,
  [`${"h".repeat(350)}/n/m`]: `${"h".repeat(350)}/n/m:latest`,
  [`${"h".repeat(351)}/n/m`]: undefined,
  "": undefined,
  " ": undefined,
  ":": undefined,
  "llama3.2:": undefined,
  ":latest": undefined,
  "/llama3.2": undefined,
  "me/": undefined,
  "a//b": undefined,
  "a/b/c/d": undefined,
  "llama:a:b": undefined,
  "llama:a:cloud:cloud": undefined,
  "-rf": undefined,
  "../../etc/passwd": undefined,
  "a b": undefined,
  "a\nb": undefined,
  'a"b': undefined,
  "a\\b": undefined,
  "a\0": undefined,
  "lläma": undefined,
  "😀": undefined,
  "m@sha256:abc": undefined,
  "{}": undefined,
  ["x".repeat(1_000_000)]: undefined,
  ["/".repeat(100_000)]: undefined,
  [":".repeat(100_000)]: undefined,
};

Deno.test("canonicalModelName() gives the short name with the tag, and nothing for what is no name", () => {
  for (const [name, canonical] of Object.entries(NAMES)) {
    assertEquals(canonicalModelName(name), canonical, JSON.stringify(name.slice(0, 100)));
  }
});

Deno.test("canonicalModelName() leaves what it has made as it is", () => {
  for (const canonical of Object.values(NAMES)) {
    if (canonical !== undefined) assertEquals(canonicalModelName(canonical), canonical);
  }
});

Deno.test("ModelLabels gives one label for all spellings of a name: the one that came first", () => {
  const models = new ModelLabels(1);
  assertEquals(models.learn("Llama3.2"), "Llama3.2:latest");
  for (const name of ["llama3.2", "LLAMA3.2:LATEST", "registry.ollama.ai/library/llama3.2:latest", " llama3.2 "]) {
    assertEquals(models.learn(name), "Llama3.2:latest");
    assertEquals(models.label(name), "Llama3.2:latest");
  }
});

Deno.test("ModelLabels gives no label to a name that only requests have brought", () => {
  const models = new ModelLabels(2);
  for (let index = 0; index < 60; index++) assertEquals(models.label(`model-${index}`), UNKNOWN_MODEL);
  assertEquals(models.label(undefined), UNKNOWN_MODEL);
  assertEquals(models.learn("model-59"), "model-59:latest");
  assertEquals(models.label("model-59"), "model-59:latest");
  assertEquals(models.label("model-58"), UNKNOWN_MODEL);
});

Deno.test("ModelLabels shares one label among the names over its limit, and keeps those it has", () => {
  const models = new ModelLabels(2);
  assertEquals(["a", "b", "c", "d"].map((name) => models.learn(name)), ["a:latest", "b:latest", "other", "other"]);
  assertEquals(["b", "a", "c"].map((name) => models.learn(name)), ["b:latest", "a:latest", "other"]);
  assertEquals(models.label("a"), "a:latest");
});

Deno.test("ModelLabels takes what is no name for unknown, and does not count it", () => {
  const models = new ModelLabels(1);
  for (const name of ["", "a b", "a\nb", "x".repeat(81)]) {
    assertEquals(models.learn(name), UNKNOWN_MODEL);
    assertEquals(models.label(name), UNKNOWN_MODEL);
  }
  assertEquals(models.learn("a"), "a:latest");
});

Deno.test("ModelLabels keeps models that are called as its own labels are apart from them", () => {
  const models = new ModelLabels(3);
  for (const name of [UNKNOWN_MODEL, OTHER_MODEL, "constructor"]) {
    assertEquals(models.label(name), UNKNOWN_MODEL);
    assertEquals(models.learn(name), `${name}:latest`);
  }
});
