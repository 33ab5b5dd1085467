/** What need not be decoded, and what must not be missed in it. */

import { assert, assertEquals, assertLess } from "@std/assert";
import { ByteSearch } from "../../../lib/bytes/byte_search.ts";
import type { Dialect } from "../../../lib/reading/dialects.ts";
import { type FramingKind, MESSAGE_LIMIT_BYTES } from "../../../lib/reading/framing.ts";
import { bytesOf, readFixtures } from "../../support/fixtures.ts";
import { cut, feed, piecesOf, read, type Result, resultOf, spread } from "../../support/framing_feed.ts";

const FIXTURES = readFixtures();
/** Those in which output is followed by messages that are passed over. */
const QUIET_STREAMS = FIXTURES.filter(({ name }) => /^(chat|generate)_stream/.test(name));

Deno.test("AnswerReader skips the middle of native streams whose chunks come one by one", async () => {
  for (const fixture of QUIET_STREAMS) {
    if (fixture.name.includes("unknown_fields")) continue;
    const lines = piecesOf("ndjson", fixture.bytes);
    const chunks = lines.map(({ end }, index) => fixture.bytes.subarray(lines[index - 1]?.end ?? 0, end));
    const collector = await read(fixture, chunks, true);
    const { text = "" } = lines.at(-1) ?? {};
    assertEquals(collector.messages[0], JSON.parse(lines[0]?.text ?? ""), fixture.name);
    assertEquals(collector.skips + collector.messages.length + collector.reasons.length, lines.length, fixture.name);
    assertLess(0, collector.skips, fixture.name);
    if (/"done":true|"error"/.test(text)) assertEquals(collector.messages.at(-1), JSON.parse(text), fixture.name);
  }
});

const CHAT = '{"model":"m","created_at":"t","message":{"role":"assistant","content":"Hi"},"done":false}';
const SPACED = '{"model": "m", "message": {"role": "assistant", "content": "Hi"}, "done": false}';

/** Streams in which something happens after output has begun: what must be found in them. */
const EVENTS: [file: string, event: string, found: (result: Result) => boolean][] = [
  ["chat", '{"model":"m","message":{"content":"","tool_calls":[{"function":{}}]},"done":false}', hasToolCall],
  ["chat", '{"error":"stopped"}', ({ hasFailed }) => hasFailed],
  ["chat", '{"model":"m","message":{"content":"error tool_calls"},"done":true,"eval_count":7}', hasSeven],
  ["generate", '{"model":"m","response":"","done":true,"done_reason":"length","eval_count":7}', hasSeven],
  [
    "openai_chat",
    '{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f"}}]},"finish_reason":null}]}',
    hasToolCall,
  ],
  [
    "openai_chat",
    '{"choices":[{"delta":{},"finish_reason":"length"}]}',
    ({ report }) => report.finishReason === "length",
  ],
  ["openai_chat", '{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":7}}', hasSeven],
  ["openai_chat", '{"error":{"message":"stopped"}}', ({ hasFailed }) => hasFailed],
  ["openai_chat", "[DONE]", ({ isTerminated }) => isTerminated],
  ["responses", '{"response":{"usage":{"output_tokens":7}},"type":"response.completed"}', hasSeven],
  ["responses", '{"response":{"usage":{"output_tokens":7}},"type":"response.incomplete"}', hasSeven],
  ["responses", '{"response":{"status":"failed"},"type":"response.failed"}', ({ hasFailed }) => hasFailed],
  ["responses", '{"message":"stopped","type":"error"}', ({ hasFailed }) => hasFailed],
  ["messages", '{"type":"content_block_start","content_block":{"type":"tool_use"}}', hasToolCall],
  ["messages", '{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"output_tokens":7}}', hasSeven],
  ["messages", '{"type":"message_stop"}', ({ isTerminated }) => isTerminated],
  ["messages", '{"type":"error","error":{"type":"overloaded_error"}}', ({ hasFailed }) => hasFailed],
];

function hasToolCall({ report }: Result): boolean {
  return report.toolCalls === 1;
}

function hasSeven({ report }: Result): boolean {
  return report.outputTokens === 7;
}

/** A message with output and nothing else, by the fixture that has it. */
const OUTPUT: Record<string, string> = {
  chat: CHAT,
  generate: '{"model":"m","response":"Hi","done":false}',
  openai_chat: '{"model":"m","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}',
  responses: '{"delta":"Hi","sequence_number":4,"type":"response.output_text.delta"}',
  messages: '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}',
};

function streamOf(kind: FramingKind, messages: string[]): Uint8Array {
  return bytesOf(
    messages.map((message) => kind === "sse" ? `event: x\ndata: ${message}\n\n` : `${message}\n`).join(""),
  );
}

Deno.test("AnswerReader misses no event in the middle of a stream, at any chunk size", async () => {
  for (const [file, event, found] of EVENTS) {
    const fixture = FIXTURES.find(({ name }) => name.startsWith(`${file}_stream`));
    const output = OUTPUT[file];
    assert(fixture !== undefined && output !== undefined);
    for (const after of [0, 3]) {
      const messages = [...Array(5).fill(output), event, ...Array(after).fill(output)];
      const bytes = streamOf(fixture.kind, messages);
      for (const size of spread(120, bytes.length)) {
        const collector = await read(fixture, cut(bytes, size), true);
        assert(found(resultOf(collector)), `${event}, ${after} messages before the end, in chunks of ${size} bytes`);
        assertEquals(resultOf(collector).parseErrors, {});
        if (size < 80) assertLess(0, collector.skips, `${file}: nothing was passed over`);
      }
    }
  }
});

Deno.test("AnswerReader skips nothing if the first output is not in the usual form", async () => {
  const fixture = FIXTURES.find(({ name }) => name === "chat_stream.ndjson");
  assert(fixture !== undefined);
  const done = '{"model": "m", "message": {"content": ""}, "done": true, "eval_count": 7}';
  const bytes = streamOf("ndjson", [SPACED, SPACED, '{"error" : "stopped"}', SPACED, done]);
  for (let size = 1; size <= bytes.length; size++) {
    const collector = await read(fixture, cut(bytes, size), true);
    assertEquals(collector.skips, 0);
    assertEquals(collector.messages.length, 5);
    assert(hasSeven(resultOf(collector)) && resultOf(collector).hasFailed);
  }
});

Deno.test("AnswerReader skips nothing before output begins", async () => {
  const fixture = FIXTURES.find(({ name }) => name === "chat_stream.ndjson");
  assert(fixture !== undefined);
  const empty = CHAT.replace("Hi", "");
  const chunks = [empty, empty, empty, CHAT, empty, CHAT].map((message) => bytesOf(`${message}\n`));
  const collector = await read(fixture, chunks, true);
  assertEquals(collector.messages.map((message) => JSON.stringify(message)), [empty, empty, empty, CHAT]);
  assertEquals(collector.skips, 2);
  assertEquals(collector.firstOutputAt, 3 * empty.length + CHAT.length + 4);
  assertEquals(collector.lastOutputAt, chunks.reduce((sum, chunk) => sum + chunk.length, 0));
});

Deno.test("AnswerReader reads on after skipped and oversized messages", async () => {
  const dialect: Dialect = {
    terminal: () => false,
    failed: () => false,
    output: () => true,
    skip: { form: new ByteSearch('"q"'), unless: new ByteSearch('"done":true') },
  };
  const long = "x,".repeat(MESSAGE_LIMIT_BYTES / 2);
  const chunks = ['{"q":1}\n', '{"q":2}\n[', long, 'x]\n{"q":3}\n', '{"done":tr', 'ue}\n{"q":4}\n'];
  const collected = await feed(chunks.map(bytesOf), { kind: "ndjson", dialect, slowly: true });
  assertEquals(collected.reasons, ["too_long"]);
  assertEquals(collected.messages, [{ q: 1 }, { done: true }, { q: 4 }]);
  assertEquals(collected.skips, 2);
});

/** What comes between messages with output: heartbeats, by framing, and what is wrong. */
const HEARTBEATS: Record<string, readonly string[]> = {
  chat: ["\n", "\r\n", "  \n"],
  openai_chat: [": ping\n\n", ":\n\n", "event: ping\n\n", "\n"],
  messages: [": ping\n\n", 'event: ping\ndata: {"type":"ping"}\n\n'],
};

Deno.test("AnswerReader takes heartbeats neither for output nor for errors, before output, within it and after it", async () => {
  for (const [file, heartbeats] of Object.entries(HEARTBEATS)) {
    const fixture = FIXTURES.find(({ name }) => name.startsWith(`${file}_stream`));
    assert(fixture !== undefined);
    const output = new TextDecoder().decode(streamOf(fixture.kind, [OUTPUT[file] as string]));
    for (const heartbeat of heartbeats) {
      const parts = [heartbeat, output, heartbeat, output, heartbeat, heartbeat];
      const collected = await read(fixture, parts.map(bytesOf), true);
      const ends = parts.map((_, index) => bytesOf(parts.slice(0, index + 1).join("")).length);
      assertEquals([collected.firstOutputAt, collected.lastOutputAt], [ends[1], ends[3]], JSON.stringify(heartbeat));
      assertEquals(collected.parseErrors, {}, JSON.stringify(heartbeat));
    }
  }
});

Deno.test("AnswerReader counts garbage within output, and does not take it for output", async () => {
  for (const file of Object.keys(HEARTBEATS)) {
    const fixture = FIXTURES.find(({ name }) => name.startsWith(`${file}_stream`));
    assert(fixture !== undefined);
    const [output, garbage] = [OUTPUT[file] as string, "<html>"].map((text) => streamOf(fixture.kind, [text]));
    assert(output !== undefined && garbage !== undefined);
    const collected = await read(fixture, [output, output, garbage, garbage], true);
    assertEquals([collected.lastOutputAt, collected.parseErrors], [2 * output.length, { invalid_json: 2 }], file);
  }
});
