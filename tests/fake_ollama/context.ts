/**
 * The context of a request to the fake Ollama: the length with which its model is loaded, and what becomes of a prompt
 * that does not fit (docs/ollama-api.md 4.1, 12).
 */

import type { FakeBehaviour, FakeModel } from "./behaviour.ts";
import { type Exchange, RouteError } from "./exchange.ts";
import { field, isObject, type JsonObject } from "./json.ts";
import { contextOf } from "./state.ts";

const DEFAULT_KEEP = 4;

/**
 * Loads the model with the context that a request asks for. Returns the tokens of its prompt, which is cut if it does
 * not fit.
 *
 * @param body Body of a native request; the other APIs have no options, and always cut.
 */
export function fittedTokens({ behaviour, state }: Exchange, model: FakeModel, body: JsonObject = {}): number {
  const { promptTokens } = behaviour;
  const options = field(body, "options");
  const { num_ctx: asked, num_keep: keep = DEFAULT_KEEP } = isObject(options) ? options : {};
  const context = contextOf(model, typeof asked === "number" ? asked : undefined);
  if (typeof asked === "number") state.contexts.set(model.name, context);
  else state.contexts.delete(model.name);
  if (promptTokens <= context || context === 0) return promptTokens;
  if (field(body, "truncate") === false) throw new RouteError(400, overflowText(behaviour, context), "stream");
  const kept = Number(keep) + (model.hasBos === true ? 1 : 0);
  return context - Math.max(Math.floor((context - kept) / 2), 1);
}

function overflowText({ promptTokens, engine }: FakeBehaviour, context: number): string {
  if (engine === "ollama") return "the input length exceeds the context length";
  const message = `request (${promptTokens} tokens) exceeds the available context size (${context} tokens), ` +
    "try increasing it";
  const type = "exceed_context_size_error";
  // JSON inside JSON, as the runner sent it.
  return JSON.stringify({ error: { code: 400, message, type, n_prompt_tokens: promptTokens, n_ctx: context } });
}
