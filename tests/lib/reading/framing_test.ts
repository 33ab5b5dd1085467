/** The same messages are read however a body is cut. */

import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { AnswerReader } from "../../../lib/reading/answer_reader.ts";
import { type FramingKind, framingKind, MESSAGE_LIMIT_BYTES } from "../../../lib/reading/framing.ts";
import { bytesOf, turn } from "../../support/fixtures.ts";
import { cut, feed, messagesIn } from "../../support/framing_feed.ts";

Deno.test("framingKind() goes by the media type, whatever its case and parameters", () => {
  const kinds: [string | null, FramingKind | undefined][] = [
    ["application/x-ndjson", "ndjson"],
    ["Application/X-NDJSON; charset=utf-8", "ndjson"],
    ["text/event-stream", "sse"],
    [" text/event-stream ;charset=utf-8", "sse"],
    ["application/json", "json"],
    ["application/json; charset=utf-8", "json"],
    ["application/jsonx", undefined],
    ["application/octet-stream", undefined],
    ["text/plain; x=application/json", undefined],
    ["", undefined],
    [null, undefined],
  ];
  for (const [contentType, kind] of kinds) assertEquals(framingKind(contentType), kind, `${contentType}`);
});

Deno.test("AnswerReader takes a JSON body as one message, of any JSON type", async () => {
  for (const value of [{ a: [1] }, [1, 2], "text", 17, true, null]) {
    const bytes = bytesOf(`\r\n ${JSON.stringify(value)} \n`);
    for (let size = 1; size <= bytes.length; size++) {
      const { messages, reasons } = await messagesIn("json", ...cut(bytes, size));
      assertEquals([messages, reasons], [[value], []], JSON.stringify(value));
    }
  }
});

Deno.test("AnswerReader reads nothing from an empty body, without a parse error", async () => {
  for (const kind of ["json", "ndjson", "sse"] as const) {
    for (
      const chunks of [[], [""], ["", ""], ...(kind === "json" ? [] : [["\n"], ["\r\n", "\r", "\n"], ["\n\n", "\n"]])]
    ) {
      const { messages, reasons } = await messagesIn(kind, ...chunks);
      assertEquals([messages, reasons], [[], []], `${kind} ${JSON.stringify(chunks)}`);
    }
  }
});

Deno.test("AnswerReader counts a JSON body that is not JSON", async () => {
  for (const body of ["{", "<html></html>", '{"a":1}{"b":2}', "\u0000", " "]) {
    assertEquals((await messagesIn("json", body)).reasons, ["invalid_json"], body);
  }
});

/** Bodies and their messages, for every chunk size. */
const SSE_BODIES: [what: string, body: string, messages: unknown[]][] = [
  ["two events", 'data: {"a":1}\n\ndata: {"a":2}\n\n', [{ a: 1 }, { a: 2 }]],
  ["no blank after the colon", 'data:{"a":1}\n\n', [{ a: 1 }]],
  ["several data lines", 'data: {"a":\ndata: 1,\ndata: "b":2}\n\n', [{ a: 1, b: 2 }]],
  ["several data lines, CR LF", 'data: {"a":\r\ndata: 1}\r\n\r\ndata: 2\r\n\r\n', [{ a: 1 }, 2]],
  ["names, numbers and comments", ": hello\nevent: x\nid: 1\nretry: 5\ndata: 1\n\n:\n: bye\n\nevent: y\n\n", [1]],
  ["events without data", "data\n\ndata:\n\ndata: 1\n\ndata: \n\n", [1]],
  ["a comment within an event", "data: [1,\n: wait\ndata: 2]\n\n", [[1, 2]]],
  ["blank lines", "\n\n\ndata: 1\n\n\n\n\ndata: 2\n\n\n", [1, 2]],
  ["no final blank line", "data: 1\n\ndata: 2\n", [1, 2]],
  ["no final line feed", "data: 1\n\ndata: 2", [1, 2]],
  ["mixed line ends", "data: 1\r\n\ndata: 2\n\r\ndata: 3\r\n\r\ndata: 4\n\n", [1, 2, 3, 4]],
  ["fields that only begin like data", "data\ndatabase: 7\nData: 8\n data: 9\ndata: 1\n\n", [1]],
  ["the end of an OpenAI stream", 'data: {"a":1}\n\ndata: [DONE]\n\n', [{ a: 1 }, "[DONE]"]],
  ["characters of several bytes", 'data: {"a":"é日🦙"}\n\ndata: "🦙"\n\n', [{ a: "é日🦙" }, "🦙"]],
];

const NDJSON_BODIES: [what: string, body: string, messages: unknown[]][] = [
  ["lines", '{"a":1}\n{"a":2}\n', [{ a: 1 }, { a: 2 }]],
  ["no final line feed", '{"a":1}\n{"a":2}', [{ a: 1 }, { a: 2 }]],
  ["blank lines", '\n\n{"a":1}\n\r\n\n{"a":2}\n\n', [{ a: 1 }, { a: 2 }]],
  ["CR LF", '{"a":1}\r\n{"a":2}\r\n', [{ a: 1 }, { a: 2 }]],
  ["blanks around", ' {"a":1} \n\t{"a":2}\t\n', [{ a: 1 }, { a: 2 }]],
  ["values of all types", '1\n"x"\nnull\n[1,{}]\ntrue\n', [1, "x", null, [1, {}], true]],
  ["characters of several bytes", '{"a":"é日🦙"}\n"🦙"\n', [{ a: "é日🦙" }, "🦙"]],
  ["separators of other kinds", '{"a":"\u2028\u2029\u0085"}\n', [{ a: "\u2028\u2029\u0085" }]],
];

Deno.test("AnswerReader splits a body into messages at every chunk size", async () => {
  const bodies = [
    ...SSE_BODIES.map((row) => ["sse", ...row] as const),
    ...NDJSON_BODIES.map((row) => ["ndjson", ...row] as const),
  ];
  for (const [kind, what, body, messages] of bodies) {
    const bytes = bytesOf(body);
    for (let size = 1; size <= bytes.length; size++) {
      for (const slowly of [false, true]) {
        const collector = await feed(cut(bytes, size), { kind, slowly });
        assertEquals([collector.messages, collector.reasons], [messages, []], `${kind}, ${what}, by ${size} bytes`);
      }
    }
  }
});

Deno.test("AnswerReader replaces bytes that are not UTF-8", async () => {
  const bytes = Uint8Array.of(...bytesOf('{"a":"'), 0xff, 0xc3, ...bytesOf('"}\n{"b":1}\n'));
  for (let size = 1; size <= bytes.length; size++) {
    assertEquals((await messagesIn("ndjson", ...cut(bytes, size))).messages, [{ a: "\ufffd\ufffd" }, { b: 1 }]);
  }
});

/** A message of so many bytes. */
function messageOf(length: number): string {
  return `{"a":"${"x".repeat(length - 8)}"}`;
}

Deno.test("AnswerReader reads a message at the limit, and the next one", async () => {
  // Names of fields belong to the event, and the line feed before its blank line.
  const message = messageOf(MESSAGE_LIMIT_BYTES - "event: x\r\ndata: \r\n".length);
  for (const size of [16 * 1024, 1_000_003, 2 * MESSAGE_LIMIT_BYTES]) {
    for (const [kind, body, count] of [...bodiesOf(message), ...bodiesOf(messageOf(MESSAGE_LIMIT_BYTES)).slice(0, 2)]) {
      const { messages, reasons } = await messagesIn(kind, ...cut(bytesOf(body), size));
      assertEquals(reasons, [], `${kind} in chunks of ${size} bytes`);
      assertEquals(messages.length, count);
      assertEquals(typeof messages[0], "object");
    }
  }
});

/** A message of so many bytes in which nothing is long. */
function manyItems(length: number): string {
  const items = `${"true,".repeat((length - 12) / 5)}true`;
  return `{"a":[${items}${" ".repeat(length - 7 - items.length)}]}`;
}

Deno.test("AnswerReader reads a message over the limit without its long strings and vectors", async () => {
  const vector = `[${"-0.0123,".repeat(100_000)}1e-7]`;
  const text = `\\\"]${"x\\".repeat(MESSAGE_LIMIT_BYTES / 4)}`;
  const message = `{"text":${JSON.stringify(text)},"vectors":[${Array(9).fill(vector).join(",")}],"eval_count":7}`;
  assertLess(MESSAGE_LIMIT_BYTES, message.length);
  for (const size of [16 * 1024, 1_000_003]) {
    for (const [kind, body, count] of bodiesOf(message)) {
      const { messages, reasons } = await messagesIn(kind, ...cut(bytesOf(body), size));
      const [first, ...others] = messages as [{ text: string }];
      assertEquals(reasons, [], `${kind} in chunks of ${size} bytes`);
      assert(text.startsWith(first.text) && first.text.length > 0 && first.text.length < 2048);
      assertEquals<unknown>(first, { text: first.text, vectors: Array(9).fill([]), eval_count: 7 });
      assertEquals<unknown[]>(others, count > 1 ? [{ b: 1 }, { c: 2 }] : []);
    }
  }
});

Deno.test("AnswerReader counts a message over the limit once, drops it and reads the next one", async () => {
  const message = manyItems(2 * MESSAGE_LIMIT_BYTES + 1);
  for (const size of [16 * 1024, 1_000_003, MESSAGE_LIMIT_BYTES, MESSAGE_LIMIT_BYTES + 1]) {
    for (const [kind, body, count] of bodiesOf(message)) {
      const slowly = size > MESSAGE_LIMIT_BYTES;
      const collector = await feed(cut(bytesOf(body), size), { kind, slowly });
      assertEquals(collector.reasons, ["too_long"], `${kind} in chunks of ${size} bytes`);
      assertEquals(collector.messages, count > 1 ? [{ b: 1 }, { c: 2 }] : []);
    }
  }
});

/** Bodies that begin with this message, and the number of their messages. */
function bodiesOf(message: string): [kind: FramingKind, body: string, count: number][] {
  return [
    ["json", message, 1],
    ["ndjson", `${message}\n{"b":1}\n{"c":2}\n`, 3],
    ["ndjson", `${message}\r\n{"b":1}\r\n{"c":2}`, 3],
    ["ndjson", message, 1],
    ["sse", `data: ${message}\n\ndata: {"b":1}\n\ndata: {"c":2}\n\n`, 3],
    ["sse", `event: x\r\ndata: ${message}\r\n\r\ndata: {"b":1}\r\n\r\ndata: {"c":2}`, 3],
    ["sse", `data: ${message}`, 1],
  ];
}

Deno.test("AnswerReader reads on after a message over the limit, wherever its end is cut", async () => {
  const long = manyItems(2 * MESSAGE_LIMIT_BYTES);
  const ends: [FramingKind, string][] = [
    ["ndjson", 'x\n{"b":1}\n'],
    ["ndjson", 'x\r\n{"b":1}\n'],
    ["sse", 'x\n\ndata: {"b":1}\n\n'],
    ["sse", 'x\r\n\r\ndata: {"b":1}\r\n\r\n'],
    ["sse", 'x\ndata: {"a":1}\n\ndata: {"b":1}\n\n'],
  ];
  for (const [kind, end] of ends) {
    for (let at = 0; at <= end.length; at++) {
      const { messages, reasons } = await messagesIn(kind, long, end.slice(0, at), end.slice(at));
      assertEquals([messages, reasons], [[{ b: 1 }], ["too_long"]], `${kind} ${JSON.stringify(end)} at ${at}`);
    }
  }
});

Deno.test("AnswerReader counts each message over the limit", async () => {
  const long = manyItems(2 * MESSAGE_LIMIT_BYTES);
  for (const kind of ["ndjson", "sse"] as const) {
    const end = kind === "sse" ? "\n\n" : "\n";
    const lines = ["1", long, long, "2", long].map((line) => kind === "sse" ? `data: ${line}` : line);
    const body = bytesOf(lines.join(end));
    const { messages, reasons } = await messagesIn(kind, ...cut(body, 65_536));
    assertEquals(reasons, ["too_long", "too_long", "too_long"]);
    assertEquals(messages, [1, 2]);
  }
});

Deno.test("AnswerReader holds no more than the limit of a message that never ends", async () => {
  for (const kind of ["json", "ndjson", "sse"] as const) {
    const reader = new AnswerReader(kind, { terminal: () => false, failed: () => false });
    const chunk = new Uint8Array(1024 * 1024).fill(120);
    const before = Deno.memoryUsage();
    for (let index = 0; index < 256; index++) reader.push(chunk, index);
    const grown = Deno.memoryUsage().external - before.external;
    const { parseErrors } = await reader.end(true);
    assertLess(grown, 64 * 1024 * 1024, kind);
    assertEquals(parseErrors, { too_long: 1 }, kind);
  }
});

Deno.test("AnswerReader.end() rejects where the dialect throws, and push() does not", async () => {
  for (const kind of ["json", "ndjson", "sse"] as const) {
    const terminal = (): boolean => {
      throw new Error("from the dialect");
    };
    const reader = new AnswerReader(kind, { terminal, failed: () => false });
    for (let index = 0; index < 5; index++) {
      reader.push(bytesOf(kind === "sse" ? "data: 1\n\n" : kind === "json" ? "1" : "1\n"), index);
      await turn();
    }
    await assertRejects(() => reader.end(true), Error, "from the dialect");
  }
});

Deno.test("AnswerReader.end() does not count a last message that broke off as a parse error", async () => {
  for (const [kind, body] of [["json", '{"a":'], ["ndjson", 'x\n{"a":'], ["sse", 'data: x\n\ndata: {"a":']] as const) {
    for (const isComplete of [true, false]) {
      const reader = new AnswerReader(kind, { terminal: () => false, failed: () => false });
      reader.push(bytesOf(body), 0);
      const { parseErrors } = await reader.end(isComplete);
      assertEquals(
        parseErrors.invalid_json ?? 0,
        (isComplete ? 1 : 0) + (kind === "json" ? 0 : 1),
        `${kind}, ${isComplete}`,
      );
    }
  }
});

Deno.test("AnswerReader gives output the time at which its bytes arrived, whenever they are parsed", async () => {
  const dialect = { terminal: () => false, failed: () => false, output: (message: unknown) => message !== 0 };
  const reader = new AnswerReader("ndjson", dialect);
  for (const [at, line] of [[1, "0\n"], [2, "\n1\n"], [3, "2\n"], [4, "0\n"]] as const) reader.push(bytesOf(line), at);
  const { firstOutputAt, lastOutputAt } = await reader.end(true);
  assertEquals([firstOutputAt, lastOutputAt], [2, 3]);
});
