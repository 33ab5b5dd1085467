import { assertEquals } from "@std/assert";
import { canonicalModelName, isCloudModel, isName, modelKey, NAME_LIMIT_BYTES } from "../../lib/model_name.ts";

/** Names and what `/api/ps` and `/api/tags` call them (docs/ollama-api.md 8.4); `undefined` for invalid names. */
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

Deno.test("canonicalModelName() returns the short name with the tag, and undefined for an invalid name", () => {
  for (const [name, canonical] of Object.entries(NAMES)) {
    assertEquals(canonicalModelName(name), canonical, JSON.stringify(name.slice(0, 100)));
  }
});

Deno.test("canonicalModelName() returns a canonical name unchanged", () => {
  for (const canonical of Object.values(NAMES)) {
    if (canonical !== undefined) assertEquals(canonicalModelName(canonical), canonical);
  }
});

Deno.test("isName() accepts texts up to the limit in bytes, and none beyond", () => {
  for (const filling of ["m", "é", "あ", "😀"]) {
    const size = new TextEncoder().encode(filling).length;
    const longest = filling.repeat(Math.floor(NAME_LIMIT_BYTES / size));
    assertEquals([isName(longest), isName(longest + filling)], [true, false], filling);
  }
  assertEquals(["", undefined, null, 1, ["m"]].map(isName), [false, false, false, false, false]);
});

Deno.test("modelKey() is the same for all spellings of a name", () => {
  const spellings = ["llama3.2", "Llama3.2:latest", "registry.ollama.ai/library/LLAMA3.2", "LIBRARY/llama3.2:LATEST"];
  for (const name of spellings) assertEquals(modelKey(name), "llama3.2:latest", name);
  assertEquals([modelKey(undefined), modelKey(""), modelKey("a b")], [undefined, undefined, undefined]);
});

Deno.test("isCloudModel() recognizes the tags of models that run elsewhere", () => {
  for (const key of ["gpt-oss:120b-cloud", "gpt-oss:cloud", "m:7b:cloud"]) assertEquals(isCloudModel(key), true, key);
  for (const key of ["m-cloud:latest", "m:cloud-7b", "cloud:latest", "cloud/m:7b"]) {
    assertEquals(isCloudModel(key), false, key);
  }
});
