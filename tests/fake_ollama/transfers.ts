/**
 * Transfers of the fake Ollama: pull, push, create and blobs (docs/ollama-api.md 2.5).
 */

import type { FakeBehaviour, FakeLayer } from "./behaviour.ts";
import { type Exchange, readObject, RouteError } from "./exchange.ts";
import { errorAnswer } from "./errors.ts";
import { booleanField, field, goJson, isObject, type JsonObject, textField, utf8 } from "./json.ts";
import { NDJSON } from "./native.ts";
import { type Answer, bodyAnswer, textMessages } from "./plan.ts";
import { addModel } from "./models.ts";
import { anyModel, canonicalName, findModel } from "./state.ts";

const SHORT_DIGEST_CHARS = 12;
const VALIDATION_STEPS = 2;
/** Digest of a pass over a local file, of which nothing is transferred (2.5). */
const VALIDATION_DIGEST = "0000000000000000000";
/** Names that Ollama accepts (8.4): host, namespace, model and tag. */
const NAME = /^(?:[\w][\w.:-]{0,349}\/)?(?:[\w][\w.-]{0,79}\/)?[\w][\w.-]{0,79}(?::[\w][\w.-]{0,79})?$/;
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

/** `POST /api/create`, from files or from a model. A model that is not there would have to be pulled, which fails. */
export async function create(exchange: Exchange): Promise<Answer> {
  const { name, stream, body } = await transferRequest(exchange);
  const from = textField(body, "from");
  const files = field(body, "files");
  if (from === "" && !(isObject(files) && Object.keys(files).length > 0)) {
    throw new RouteError(400, "neither 'from' or 'files' was specified", "stream");
  }
  if (from !== "" && findModel(exchange.behaviour, from) === undefined) {
    const lookup = "dial tcp: lookup registry.ollama.ai: no such host";
    const url = `https://registry.ollama.ai/v2/library/${from}/manifests/latest`;
    const error = `pull model manifest: Get "${url}": ${lookup}`;
    return transferAnswer([{ status: "pulling manifest" }, { error }], stream);
  }
  addModel(exchange, anyModel(canonicalName(name)));
  return transferAnswer(createMessages(exchange.behaviour, from === ""), stream);
}

/** `HEAD /api/blobs/:digest`. The body of its 404 is announced and, as to any HEAD, not sent. */
export function headBlob(exchange: Exchange): Answer {
  const digest = blobDigest(exchange.param);
  if (digest === undefined) return errorAnswer("native", 400, "invalid digest format");
  if (exchange.state.blobs.has(digest)) return bodyAnswer(200, undefined, "");
  return errorAnswer("native", 404, `blob "${digest}" not found`);
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

/** Returns the progress of a create. From files, the model is validated, which moves no bytes (2.5). */
export function createMessages(behaviour: FakeBehaviour, fromFiles: boolean): JsonObject[] {
  const [model] = behaviour.layers;
  const total = model?.bytes ?? 0;
  const steps = Array.from({ length: VALIDATION_STEPS }, (_, step) => ({
    status: "validating GGUF model",
    digest: VALIDATION_DIGEST,
    total,
    completed: Math.floor(total * (step + 1) / VALIDATION_STEPS),
  }));
  return [
    ...(fromFiles ? [{ status: "parsing GGUF" }, ...steps, { status: "verifying conversion" }] : []),
    ...behaviour.layers.map(({ digest }, index) => ({
      status: `${index === 0 ? "using existing" : "creating new"} layer sha256:${digest}`,
    })),
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

async function transferRequest(
  exchange: Exchange,
): Promise<{ name: string; stream: boolean; body: JsonObject }> {
  const body = await readObject(exchange);
  const name = textField(body, "model") || textField(body, "name");
  if (!NAME.test(name)) throw new RouteError(400, "invalid model name");
  return { name, stream: booleanField(body, "stream", true), body };
}

/** Parses a path segment "sha256:<hex>". Returns `undefined` if it is not one. */
function blobDigest(param: string): string | undefined {
  const hex = DIGEST.exec(decodeURIComponent(param))?.[1];
  return hex === undefined ? undefined : `sha256:${hex.toLowerCase()}`;
}
