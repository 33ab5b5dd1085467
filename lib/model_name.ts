/**
 * Ollama's model names.
 *
 * @module
 */

const DEFAULT_HOST = "registry.ollama.ai";
const DEFAULT_NAMESPACE = "library";
const DEFAULT_TAG = "latest";

/**
 * Maximum size of a name that is taken from a request or a response, in bytes: of a model, a layer or a finish reason.
 * A longer one is no name; shortened it would be another one.
 */
export const NAME_LIMIT_BYTES = 512;

const PART = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}$/;
const HOST = /^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}$/;

/** Whether a value is a text that can be a name: not empty, and within the limit. */
export function isName(value: unknown): value is string {
  if (typeof value !== "string" || value === "" || value.length > NAME_LIMIT_BYTES) return false;
  // A character has at most three bytes.
  return 3 * value.length <= NAME_LIMIT_BYTES || new TextEncoder().encode(value).length <= NAME_LIMIT_BYTES;
}

/**
 * Returns the canonical short form of a model name, as `/api/ps` and `/api/tags` report it: with the tag, without the
 * default host and namespace (docs/ollama-api.md 8.4). `llama3.2` becomes `llama3.2:latest`;
 * `hf.co/u/Repo-GGUF:Q4_K_M` is canonical already.
 *
 * @returns `undefined` if the name is not valid.
 */
export function canonicalModelName(name: string): string | undefined {
  if (!isName(name)) return undefined;
  // The suffix `local` only rules out the cloud model of that name.
  const full = name.trim().replace(/^[a-z]+:\/\//i, "").replace(/:local$/i, "");
  const slash = full.lastIndexOf("/");
  const [model = "", tag = DEFAULT_TAG, source, ...rest] = full.slice(slash + 1).split(":");
  const path = slash < 0 ? [] : full.slice(0, slash).split("/");
  const namespace = path.pop() ?? DEFAULT_NAMESPACE;
  const host = path.pop() ?? DEFAULT_HOST;
  const valid = rest.length === 0 && path.length === 0 && PART.test(model) && PART.test(tag) &&
    PART.test(namespace) && HOST.test(host) && (source === undefined || /^cloud$/i.test(source));
  if (!valid) return undefined;
  const isDefaultHost = host.toLowerCase() === DEFAULT_HOST;
  const prefix = !isDefaultHost
    ? `${host}/${namespace}/`
    : namespace.toLowerCase() === DEFAULT_NAMESPACE
    ? ""
    : `${namespace}/`;
  const suffix = source === undefined ? "" : ":cloud";
  return `${prefix}${model}:${tag}${suffix}`;
}

/** Returns the key under which spellings of one name are one model: Ollama matches names case-insensitively. */
export function modelKey(name: string | undefined): string | undefined {
  return name === undefined ? undefined : canonicalModelName(name)?.toLowerCase();
}

/** Whether the model of a key runs elsewhere: its tag is `cloud`, or ends so (docs/ollama-api.md 3.9). */
export function isCloudModel(key: string): boolean {
  return /[:-]cloud$/.test(key);
}

/** Label of requests whose model is not known. */
export const UNKNOWN_MODEL = "unknown";
/** Label of all models over the limit. */
export const OTHER_MODEL = "other";
