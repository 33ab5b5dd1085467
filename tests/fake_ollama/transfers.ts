/**
 * Transfers of the fake Ollama: pull, push, create and blobs (docs/ollama-api.md 2.5).
 */

import type { FakeBehaviour, FakeLayer } from "./behaviour.ts";
import { type Exchange, readObject, RouteError } from "./exchange.ts";
import { booleanField, goJson, type JsonObject, textField, utf8 } from "./json.ts";
import { NDJSON } from "./native.ts";
import { type Answer, bodyAnswer, textMessages } from "./plan.ts";
import { addModel } from "./models.ts";
import { anyModel, canonicalName, findModel } from "./state.ts";

const SHORT_DIGEST_CHARS = 12;
const DIGEST = /^sha256[:-]([0-9a-fA-F]{64})$/;

/** `POST /api/pull`. Adds the model. */
export async function pull(exchange: Exchange): Promise<Answer> {
  const { name, stream } = await transferRequest(exchange);
  addModel(exchange, findModel(exchange.behaviour, name) ?? anyModel(canonicalName(name)));
  return transferAnswer(pullMessages(exchange.behaviour), stream);
}

/** `POST /api/push`. */
export async function push(exchange: Exchange): Promise<Answer> {
  const { name, stream } = await transferRequest(exchange);
  if (findModel(exchange.behaviour, name) === undefined) {
    throw new RouteError(404, `model '${name}' not found`);
  }
  return transferAnswer(pushMessages(exchange.behaviour), stream);
}

/** `POST /api/create`, without byte counts. */
export async function create(exchange: Exchange): Promise<Answer> {
  const { name, stream } = await transferRequest(exchange);
  addModel(exchange, anyModel(canonicalName(name)));
  return transferAnswer(createMessages(exchange.behaviour), stream);
}

/** `HEAD /api/blobs/:digest`. */
export function headBlob(exchange: Exchange): Answer {
  const digest = blobDigest(exchange.param);
  const known = digest !== undefined && exchange.state.blobs.has(digest);
  return bodyAnswer(digest === undefined ? 400 : known ? 200 : 404, undefined, "");
}

/** `POST /api/blobs/:digest`. Responds before reading the body if the blob exists. */
export async function postBlob(exchange: Exchange): Promise<Answer> {
  const { state, request, connection } = exchange;
  const digest = blobDigest(exchange.param);
  if (digest === undefined) throw new RouteError(400, "invalid digest format");
  if (state.blobs.has(digest)) return bodyAnswer(200, undefined, "");
  while (await connection.readBodyChunk() !== undefined);
  const got = `sha256:${request.bodySha256}`;
  if (got !== digest) {
    throw new RouteError(400, `digest mismatch, expected "${digest}", got "${got}"`);
  }
  state.blobs.add(digest);
  return bodyAnswer(201, undefined, "");
}

/** Returns the progress of a pull; byte counts are cumulative per digest and omitted when 0. */
export function pullMessages(behaviour: FakeBehaviour): JsonObject[] {
  return [
    { status: "pulling manifest" },
    ...behaviour.layers.flatMap((layer) => progress("pulling", layer, behaviour)),
    { status: "verifying sha256 digest" },
    { status: "writing manifest" },
    { status: "success" },
  ];
}

/** Returns the progress of a push. */
export function pushMessages(behaviour: FakeBehaviour): JsonObject[] {
  return [
    { status: "retrieving manifest" },
    ...behaviour.layers.flatMap((layer) => progress("pushing", layer, behaviour)),
    { status: "pushing manifest" },
    { status: "success" },
  ];
}

/** Returns the progress of a create. */
export function createMessages(behaviour: FakeBehaviour): JsonObject[] {
  return [
    { status: "parsing GGUF" },
    ...behaviour.layers.map(({ digest }) => ({ status: `using existing layer sha256:${digest}` })),
    { status: "writing manifest" },
    { status: "success" },
  ];
}

/** Returns the answer for progress messages; with `stream:false` only the last one (2.5). */
export function transferAnswer(messages: readonly JsonObject[], stream: boolean): Answer {
  const failure = (message = "pull model manifest: unexpected EOF") => [
    utf8(goJson({ error: message }) + "\n"),
  ];
  if (!stream) {
    return { ...bodyAnswer(200, "application/json", goJson(messages.at(-1))), paced: true, failure };
  }
  return {
    status: 200,
    contentType: NDJSON,
    messages: textMessages(messages.map((message) => goJson(message) + "\n")),
    streamed: true,
    paced: true,
    failure,
  };
}

function progress(verb: string, layer: FakeLayer, behaviour: FakeBehaviour): JsonObject[] {
  const steps = Math.max(1, behaviour.progressPerLayer);
  return Array.from({ length: steps + 1 }, (_, step) => {
    const completed = Math.floor(layer.bytes * step / steps);
    return {
      status: `${verb} ${layer.digest.slice(0, SHORT_DIGEST_CHARS)}`,
      digest: `sha256:${layer.digest}`,
      ...(layer.bytes === 0 ? {} : { total: layer.bytes }),
      ...(completed === 0 ? {} : { completed }),
    };
  });
}

async function transferRequest(exchange: Exchange): Promise<{ name: string; stream: boolean }> {
  const body = await readObject(exchange);
  const name = textField(body, "model") || textField(body, "name");
  if (name === "") throw new RouteError(400, "invalid model name");
  return { name, stream: booleanField(body, "stream", true) };
}

/** Parses a path segment "sha256:<hex>". Returns `undefined` if it is not one. */
function blobDigest(param: string): string | undefined {
  const hex = DIGEST.exec(decodeURIComponent(param))?.[1];
  return hex === undefined ? undefined : `sha256:${hex.toLowerCase()}`;
}
