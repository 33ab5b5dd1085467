/** What a client gets through the filter is what Ollama sends to one that has not asked for usage. */

import { assert, assertEquals } from "@std/assert";
import { join } from "../../../lib/bytes/byte_queue.ts";
import { EVENT_LIMIT_BYTES, UsageFilter } from "../../../lib/proxy/stream_usage.ts";
import { defaultBehaviour, type FakeBehaviour } from "../../fake_ollama/behaviour.ts";
import { generation } from "../../fake_ollama/native.ts";
import { openaiChatAnswer, openaiCompletionAnswer } from "../../fake_ollama/openai.ts";
import { bodyOf } from "../../fake_ollama/recordings.ts";
import { bytesOf, random } from "../../support/fixtures.ts";
import { readUsagePairs } from "../../support/usage_pairs.ts";

const MEBIBYTE = 1024 * 1024;

/** Answers that have something in them which could be taken for usage. */
const VARIANTS: Record<string, Partial<FakeBehaviour>> = {
  "plain": {},
  "thinking": { thinking: 2 },
  "with tool calls": { toolCalls: [{ name: "f", arguments: { usage: { total_tokens: 0 }, choices: [] } }] },
  "with text in the last chunk": { finalText: " The end." },
  "cut short": { finishReason: "length" },
  "with cached tokens and timings": { cachedTokens: 20, release: "0.40" },
  "with cached tokens 0": { cachedTokens: 0 },
  "with fields that we do not know": { extraFields: { runner: "mlx", nested: { usage: null } } },
  "without any output": { tokens: 0 },
  "without usage although it was asked for": { omitUsage: true },
  "about usage": {
    words: ['"choices":[]', '"usage":{"total_tokens":0}', '{"choices":[],"usage":{}}', "data: [DONE]\n\n", '\\"usage"'],
  },
};

/** The same answer, to a client that asks for usage and to one that does not, each event by itself. */
interface Pair {
  readonly name: string;
  readonly asked: readonly Uint8Array[];
  readonly plain: readonly Uint8Array[];
}

const PAIRS: Pair[] = readUsagePairs().map(({ withUsage, plainText }) => ({
  name: withUsage.name,
  asked: eventsOf(bodyOf(withUsage)),
  plain: eventsOf(bytesOf(plainText)),
}));
for (const [name, changes] of Object.entries(VARIANTS)) {
  const behaviour = { ...defaultBehaviour(), ...changes };
  const made = generation(behaviour, { model: "llama3.2", thinks: false, startMs: 0 });
  const options = { stream: true, timings: behaviour.release === "0.40" };
  for (const [api, answer] of [["chat", openaiChatAnswer], ["completions", openaiCompletionAnswer]] as const) {
    const events = (includeUsage: boolean) =>
      eventsOf(join(answer(made, { ...options, includeUsage }).messages.map(({ bytes }) => bytes)));
    PAIRS.push({ name: `${api} ${name}`, asked: events(true), plain: events(false) });
  }
}

/** Splits a stream into its events. */
function eventsOf(stream: Uint8Array): Uint8Array[] {
  return textOf(stream).split(/(?<=\n\n)/).map(bytesOf);
}

function filtered(chunks: Iterable<Uint8Array>): string {
  const filter = new UsageFilter();
  const passed: Uint8Array[] = [];
  for (const chunk of chunks) {
    // The tap uses one buffer again and again.
    const reused = chunk.slice();
    passed.push(filter.push(reused).slice());
    reused.fill(0);
  }
  passed.push(filter.end());
  return textOf(join(passed));
}

function filteredText(...chunks: string[]): string {
  return filtered(chunks.map(bytesOf));
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function* cut(bytes: Uint8Array, size: () => number): Generator<Uint8Array> {
  let start = 0;
  while (start < bytes.length) {
    const end = start + size();
    yield bytes.subarray(start, end);
    start = end;
  }
}

/** With another line end. */
function withEnds(events: readonly Uint8Array[], end: string): Uint8Array<ArrayBuffer> {
  return bytesOf(textOf(join(events)).replaceAll("\n", end));
}

for (const { name, asked, plain } of PAIRS) {
  const [bytes, expected] = [join(asked), textOf(join(plain))];
  Deno.test(`UsageFilter hides what the client did not request: ${name}, at every chunk size`, () => {
    // Every size up to that of an event, and beyond it some of them.
    for (let size = 1; size <= bytes.length; size += size < 300 ? 1 : 17) {
      assertEquals(filtered(cut(bytes, () => size)), expected);
    }
  });

  Deno.test(`UsageFilter hides what the client did not request: ${name}, cut in two at every byte`, () => {
    for (let at = 0; at <= bytes.length; at++) {
      assertEquals(filtered([bytes.subarray(0, at), bytes.subarray(at)]), expected);
    }
  });

  Deno.test(`UsageFilter hides what the client did not request: ${name}, with \\r\\n and random chunks`, () => {
    for (let seed = 1; seed <= 50; seed++) {
      const next = random(seed);
      const chunks = cut(withEnds(asked, "\r\n"), () => 1 + Math.floor(next() * 100));
      assertEquals(filtered(chunks), textOf(withEnds(plain, "\r\n")));
    }
  });

  Deno.test(`UsageFilter forwards what was received of a stream that breaks off: ${name}, after every byte`, () => {
    for (let end = 0; end <= bytes.length; end++) assertBrokenOff({ name, asked, plain }, end);
  });
}

/** Of a stream that ends after so many bytes the client gets each whole event, and what can be told of the last. */
function assertBrokenOff({ asked, plain }: Pair, end: number): void {
  let start = 0;
  let shown = 0;
  let index = 0;
  const isUsage = (event: Uint8Array) => textOf(event).includes('"choices":[]');
  for (; index < asked.length; index++) {
    const event = asked[index] as Uint8Array;
    if (start + event.length > end) break;
    start += event.length;
    if (!isUsage(event)) shown++;
  }
  const got = filtered([join(asked).subarray(0, end)]);
  const whole = textOf(join(plain.slice(0, shown)));
  assert(got.startsWith(whole), `${end}: ${got}`);
  const rest = got.slice(whole.length);
  const sent = textOf(join(asked).subarray(start, end));
  const event = asked[index];
  if (event !== undefined && isUsage(event)) assert(rest === "" || rest === sent && !isUsage(bytesOf(rest)), rest);
  else assert(rest === sent || textOf(plain[shown] ?? bytesOf("")).startsWith(rest), `${end}: ${rest}`);
}

const TEXT = 'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n';
const USAGE = 'data: {"choices":[],"usage":{"total_tokens":5}}\n\n';
const DONE = "data: [DONE]\n\n";

Deno.test("UsageFilter forwards an event as soon as it is whole", () => {
  const filter = new UsageFilter();
  assertEquals(textOf(filter.push(bytesOf(TEXT))), TEXT);
  assertEquals(textOf(filter.push(bytesOf(TEXT.slice(0, 10)))), "");
  assertEquals(textOf(filter.push(bytesOf(TEXT.slice(10, -1)))), "");
  assertEquals(textOf(filter.push(bytesOf("\n" + TEXT + USAGE + DONE.slice(0, 5)))), TEXT + TEXT);
  assertEquals(textOf(filter.push(bytesOf(DONE.slice(5)))), DONE);
  assertEquals(textOf(filter.end()), "");
});

Deno.test("UsageFilter hides one event: a second one with usage is the upstream's own", () => {
  assertEquals(filteredText(TEXT, USAGE, USAGE, DONE), TEXT + USAGE + DONE);
  assertEquals(filteredText(TEXT + USAGE + USAGE + DONE), TEXT + USAGE + DONE);
  assertEquals(filteredText(TEXT, USAGE, USAGE.slice(0, -9)), TEXT + USAGE.slice(0, -9));
});

Deno.test("UsageFilter removes usage from any position in an event", () => {
  const [a, c, usage] = ['"a":[1, 2]', '"choices":[{"text":""}]', '"usage":{"total_tokens":0}'];
  const event = (...members: string[]) => `data: {${members.join(",")}}\n\n`;
  assertEquals(filteredText(event(usage, a, c)), event(a, c));
  assertEquals(filteredText(event(a, usage, c)), event(a, c));
  assertEquals(filteredText(event(a, c, usage)), event(a, c));
  assertEquals(filteredText(event(usage, c)), event(c));
  assertEquals(filteredText(event(c, usage)), event(c));
  assertEquals(filteredText(event(c, '"usage":null', a)), event(c, a));
  assertEquals(filteredText(`data: {${a} ,\t"usage" : {"x":"}"} , ${c} }\n\n`), `data: {${a} , ${c} }\n\n`);
});

/** Events of usage as other servers write them. */
const OTHER_FORMS = [
  'data:{"choices":[],"usage":{"total_tokens":5}}\n\n',
  'event: x\ndata: {"choices":[],"usage":{}}\n\n',
  'id: 7\r\n: a comment\r\ndata:  {"usage": {} , "choices": [ ]}\r\n\r\n',
  'data: {"choices":[],"usage":{}}\nid: 7\n\n',
];

Deno.test("UsageFilter hides usage in any form of an event, cut anywhere", () => {
  for (const usage of OTHER_FORMS) {
    const all = bytesOf(TEXT + usage + DONE);
    for (let at = 0; at <= all.length; at++) {
      assertEquals(filtered([all.subarray(0, at), all.subarray(at)]), TEXT + DONE, usage);
    }
    assertEquals(filteredText(usage), "", usage);
  }
});

Deno.test("UsageFilter hides no event that says more than usage, and removes the usage from it", () => {
  const chunk = (more: string): string => `data: {"choices":[{"delta":{"content":"Hi"}}]${more}}\n\n`;
  const filters = '"prompt_filter_results":[{"prompt_index":0}]';
  const rows: [what: string, event: string, forwarded: string][] = [
    ["no usage", 'data: {"choices":[],"usage":null}\n\n', 'data: {"choices":[]}\n\n'],
    ["another member", `data: {"choices":[],${filters},"usage":null}\n\n`, `data: {"choices":[],${filters}}\n\n`],
    ["usage and another", `data: {"choices":[],"usage":{},${filters}}\n\n`, `data: {"choices":[],${filters}}\n\n`],
    ["usage as a number", 'data: {"choices":[],"usage":5}\n\n', 'data: {"choices":[]}\n\n'],
  ];
  for (const [what, event, forwarded] of rows) {
    assertEquals(filteredText(chunk(""), event, USAGE, DONE), chunk("") + forwarded + DONE, what);
    assertEquals(filteredText(event + chunk("") + USAGE + DONE), forwarded + chunk("") + DONE, what);
  }
  // A member of every event is none of the usage's.
  const usage = USAGE.replace("}}", `},"x":1}`);
  assertEquals(filteredText(chunk(',"x":1') + usage + DONE), chunk(',"x":1') + DONE);
  assertEquals(filteredText(chunk("") + usage + DONE), chunk("") + 'data: {"choices":[],"x":1}\n\n' + DONE);
});

/** Events that are passed on as they are: they have usage in them, or seem to, but not as Ollama writes it. */
const STRANGE: Record<string, string> = {
  "usage without choices": 'data: {"usage":{"total_tokens":5}}\n\n',
  "usage in a choice": 'data: {"choices":[{"usage":{"total_tokens":5}}]}\n\n',
  "a list": 'data: ["usage",{"choices":[],"usage":{}}]\n\n',
  "text": 'data: "\\"usage\\"" "usage"\n\n',
  "no JSON": 'data: {"choices":[],"usage":{"total_tokens":5}\n\n',
  "several data lines": 'data: {"choices":[],\ndata: "usage":{"total_tokens":5}}\n\n',
  "no usage": 'data: {"choices":[],"id":"x"}\n\n',
  "a field that is as long as ours": 'event:{"choices":[],"usage":{}}\n\n',
  "a comment": ': {"choices":[],"usage":{}}\n\n',
  "blank lines": "\n\n\r\n\n",
  "no text": '\xff\xfe"usage"\n\n',
};

Deno.test("UsageFilter forwards everything that is not in the expected form", () => {
  for (const [name, event] of Object.entries(STRANGE)) {
    assertEquals(filteredText(TEXT, event, DONE), TEXT + event + DONE, name);
    assertEquals(filteredText(event + TEXT), event + TEXT, name);
  }
});

Deno.test("UsageFilter hides usage after any events, cut anywhere, and loses no blank line", () => {
  for (const before of ["\n", "\r\n", "\n\n", "\r\n\r\n", ": a comment\n\n\n", ...Object.values(STRANGE)]) {
    const all = bytesOf(TEXT + before + USAGE + before + DONE);
    for (let at = 0; at <= all.length; at++) {
      const passed = filtered([all.subarray(0, at), all.subarray(at)]);
      assertEquals(passed, TEXT + before + before + DONE, JSON.stringify(before));
    }
  }
});

Deno.test("UsageFilter forwards an event over the limit, and hides the usage after it", () => {
  const long = `data: {"choices":[{"delta":{"content":"${"x".repeat(9 * MEBIBYTE)}"}}]}\n\n`;
  const filter = new UsageFilter();
  const passed: Uint8Array[] = [];
  let held = 0;
  let most = 0;
  for (const chunk of cut(bytesOf(TEXT + long + TEXT + USAGE + DONE), () => 16 * 1024)) {
    passed.push(filter.push(chunk).slice());
    held += chunk.length - (passed.at(-1)?.length ?? 0);
    most = Math.max(most, held);
  }
  passed.push(filter.end());
  assert(textOf(join(passed)) === TEXT + long + TEXT + DONE);
  assert(most <= 8 * MEBIBYTE + 16 * 1024, `${most} bytes were held`);
});

Deno.test("UsageFilter hides usage at a clean end without a blank line", () => {
  for (const end of ["", "\n", "\r\n", "\n\r"]) {
    assertEquals(filteredText(TEXT, USAGE.trimEnd() + end), TEXT);
    assertEquals(filteredText(TEXT, TEXT.trimEnd() + end), TEXT + TEXT.trimEnd() + end);
  }
});

Deno.test("UsageFilter returns nothing for an empty stream", () => {
  assertEquals(filteredText(), "");
  assertEquals(filteredText("", ""), "");
});

Deno.test("UsageFilter holds an event at the limit, and forwards a larger one as it arrives", () => {
  const beginning = bytesOf("data: ".padEnd(EVENT_LIMIT_BYTES, "x"));
  assertEquals(new UsageFilter().push(beginning).length, 0);
  const filter = new UsageFilter();
  filter.push(beginning);
  assertEquals(filter.push(bytesOf("x")).length, EVENT_LIMIT_BYTES + 1);
});
