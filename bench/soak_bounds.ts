/**
 * Loads of the soak by hostile or idle clients: requests of which the exporter must keep no more than it counts, and
 * that must not delay others.
 *
 * @module
 */

import { delay } from "../tests/support/helpers.ts";
import { chunk, modelName } from "./payloads.ts";
import { type Exchange, generation, type Trial } from "./soak_trial.ts";
import type { Client } from "./wire.ts";

const MEBIBYTE = 2 ** 20;

/** Maximum time of a request that asks nothing of the upstream, in ms. */
const BUSY_LIMIT_MS = 2000;

/** Time in which the exporter reads what was sent. */
const SETTLE_MS = 1000;

const CHUNKED = "Transfer-Encoding: chunked";

/** An upload that never ends: its head, and parts of its body. */
function* unfinished(path: string, framing: string, parts: Iterable<string>): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  yield encoder.encode(`POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${framing}\r\n\r\n`);
  for (const part of parts) yield encoder.encode(part);
}

/** Disconnects clients within their requests. */
function leave(trial: Trial, clients: readonly Client[], exchange: Exchange): void {
  for (const client of clients) trial.ended(exchange, client.disconnect(), true);
}

/** Reports a request that takes too long while another one is open or parsed. */
function checkBusy(trial: Trial, what: string, milliseconds: number): string {
  const note = `${what} takes ${Math.round(milliseconds)} ms meanwhile`;
  if (milliseconds > BUSY_LIMIT_MS) trial.problem(`BUSY_LIMIT of ${BUSY_LIMIT_MS} ms exceeded: ${note}`);
  return note;
}

/** Checks that usage is still requested for other clients, so that their tokens are counted. */
async function checkTokens(trial: Trial): Promise<void> {
  const client = trial.client();
  await trial.exchange(client, generation("openai", { num_predict: 8 }));
  client.disconnect();
  await delay(SETTLE_MS / 10);
  const tokens = (await trial.scrape()).value("ollama_tokens_generated_total", { model: modelName(0) });
  if (tokens !== 8) trial.problem(`${tokens} tokens counted, not 8`);
}

/** A body in chunks of one byte. */
export async function tinyChunks(trial: Trial, chunks: number): Promise<string> {
  const client = trial.client();
  const parts = Iterator.from({ next: () => ({ done: false, value: chunk("x") }) }).take(chunks);
  await client.send(unfinished("/v1/chat/completions", CHUNKED, parts));
  await delay(SETTLE_MS);
  const { rssBytes } = await trial.usage();
  leave(trial, [client], generation("openai"));
  await checkTokens(trial);
  return `${Math.round(rssBytes / MEBIBYTE)} MiB while it is open`;
}

/** Bodies in chunks, as large as any that is parsed, that do not end; half of them without requested usage. */
export async function heldUploads(trial: Trial, uploads: number, bytes: number): Promise<string> {
  const body = chunk(`{"model":"m","stream":true,"x":"${"x".repeat(bytes)}`);
  for (const [path, dialect] of [["/v1/chat/completions", "openai"], ["/api/chat", "native"]] as const) {
    const clients = Array.from({ length: uploads / 2 }, () => trial.client());
    for (const client of clients) await client.send(unfinished(path, CHUNKED, [body]));
    await delay(SETTLE_MS);
    leave(trial, clients, generation(dialect));
  }
  await checkTokens(trial);
  return "all of them ended";
}

/** Uploads that are announced and do not begin. */
export async function idleUploads(trial: Trial, uploads: number, bytes: number): Promise<string> {
  const clients = Array.from({ length: uploads }, () => trial.client());
  for (const client of clients) {
    await client.send(unfinished("/v1/chat/completions", `Content-Length: ${bytes}`, []));
  }
  await delay(SETTLE_MS);
  await checkTokens(trial);
  const { rssBytes } = await trial.usage();
  leave(trial, clients, generation("openai"));
  return `${Math.round(rssBytes / MEBIBYTE)} MiB while they are open`;
}

/** A request with as many members as a body may have, which the upstream answers like any other. */
export async function manyMembers(trial: Trial, bytes: number): Promise<string> {
  const exchange = generation("openai", { num_predict: 8, usage: true });
  const members: string[] = [];
  let size = 0;
  while (size < bytes) size += members[members.push(`"${members.length.toString(36)}":1,`) - 1]?.length ?? 0;
  const [head = "", body = ""] = exchange.request.split("\r\n\r\n");
  const long = `{${members.join("")}${body.slice(1)}`;
  const request = `${head.replace(/Content-Length: \d+/, `Content-Length: ${long.length}`)}\r\n\r\n${long}`;
  const client = trial.client();
  let isSent = false;
  const sent = trial.exchange(client, { ...exchange, request }).finally(() => isSent = true);
  let milliseconds = 0;
  while (!isSent) milliseconds = Math.max(milliseconds, await trial.responseMs());
  await sent;
  client.disconnect();
  return checkBusy(trial, "/-/healthy", milliseconds);
}

/** An open request whose model has a name of that many bytes. */
export async function longName(trial: Trial, bytes: number): Promise<string> {
  const exchange = generation("native", { model: ":".repeat(bytes), num_predict: 1000, pace_ms: 60_000 });
  const client = trial.client();
  await client.begin(exchange);
  await client.read(1);
  const startedAt = performance.now();
  await trial.scrape();
  const note = checkBusy(trial, "/metrics", performance.now() - startedAt);
  leave(trial, [client], exchange);
  return note;
}
