/**
 * What Ollama refuses in requests to the inference APIs (docs/ollama-api.md 2.1, 4.1).
 */

import type { FakeModel } from "./behaviour.ts";
import { RouteError } from "./exchange.ts";
import { BadBody, field, isObject, type JsonObject } from "./json.ts";

const TOP_LOGPROBS_LIMIT = 20;
/** Options by the type that Go wants; others are not checked. */
const OPTION_TYPES: Record<string, "integer" | "float32"> = {
  num_ctx: "integer",
  num_keep: "integer",
  num_predict: "integer",
  seed: "integer",
  top_k: "integer",
  temperature: "float32",
  top_p: "float32",
};

/** Capabilities whose refusal has the model's full name, without quotes (4.1). */
type NamedCapability = "tools" | "insert";

/** Throws if a model lacks a capability that is refused with `verb`. */
export function needs(model: FakeModel, name: string, capability: string, verb: string): void {
  if (!model.capabilities.includes(capability)) throw new RouteError(400, `"${name}" does not support ${verb}`);
}

/** The same for capabilities that are refused with the model's full name. */
export function needsNamed(model: FakeModel, capability: NamedCapability): void {
  if (model.capabilities.includes(capability)) return;
  const name = model.name.includes("/") ? model.name : `library/${model.name}`;
  throw new RouteError(400, `registry.ollama.ai/${name} does not support ${capability}`);
}

/** Throws for fields of a request to `/api/chat` or `/api/generate` that Go cannot decode, or that are out of range. */
export function checkFields(body: JsonObject): void {
  const messages = field(body, "messages");
  if (messages !== undefined && !Array.isArray(messages)) {
    const type = typeof messages === "boolean" ? "bool" : typeof messages;
    throw new BadBody(`json: cannot unmarshal ${type} into Go struct field ChatRequest.messages of type []api.Message`);
  }
  const logprobs = Number(field(body, "top_logprobs") ?? 0);
  if (logprobs < 0 || logprobs > TOP_LOGPROBS_LIMIT) {
    throw new RouteError(400, `top_logprobs must be between 0 and ${TOP_LOGPROBS_LIMIT}`);
  }
}

/** Throws for what is found when the runner is asked: options, images and the format. */
export function checkRun(model: FakeModel, body: JsonObject): void {
  checkOptions(field(body, "options"));
  if (hasImages(body) && !model.capabilities.includes("vision")) {
    // The text was not recorded.
    throw new RouteError(400, "image input is not supported");
  }
  checkFormat(field(body, "format"));
}

function checkOptions(options: unknown): void {
  if (!isObject(options)) return;
  for (const [name, type] of Object.entries(OPTION_TYPES)) {
    const value = options[name];
    if (value !== undefined && value !== null && typeof value !== "number") {
      throw new RouteError(500, `option "${name}" must be of type ${type}`);
    }
  }
}

function hasImages(body: JsonObject): boolean {
  const messages = field(body, "messages");
  return [body, ...Array.isArray(messages) ? messages : []].some((holder) => {
    const images = isObject(holder) ? field(holder, "images") : undefined;
    return Array.isArray(images) && images.length > 0;
  });
}

function checkFormat(format: unknown): void {
  if (format === undefined || format === "" || format === "json" || isObject(format)) return;
  const quoted = JSON.stringify(JSON.stringify(format));
  throw new RouteError(500, `invalid format: ${quoted}; expected "json" or a valid JSON Schema object`);
}
