/** What is read of a request's body, and how usage is asked for in it: by bytes put in, and nothing else changed. */

import { assert, assertEquals } from "@std/assert";
import { NAME_LIMIT_BYTES } from "../../../lib/model_name.ts";
import { type ParseOptions, parseRequest } from "../../../lib/proxy/stream_usage.ts";
import type { RequestOptions } from "../../../lib/observation.ts";
import { bytesOf } from "../../support/fixtures.ts";
import { JsonWriter } from "../../support/random_json.ts";

const SEEDS = 400;
const FACTS: ParseOptions = { hasOptions: true, canRequestUsage: false };
const USAGE: ParseOptions = { hasOptions: true, canRequestUsage: true };
const ASKED = '"stream_options":{"include_usage":true}';

function read(body: string, parse = USAGE): { model: string | undefined; asking: string | undefined } {
  const { model, withUsage: asking } = parseRequest(bytesOf(body), parse);
  return { model, asking: asking && new TextDecoder("utf-8", { ignoreBOM: true }).decode(asking) };
}

/** Bodies of streamed requests, and what they become. */
const ASKING: Record<string, readonly [body: string, asking: string]> = {
  "has no stream_options": ['{"model":"m","stream":true}', `{${ASKED},"model":"m","stream":true}`],
  "has white space everywhere": [
    ' \r\n{ "stream"\t:\ntrue , "n" : 1 } ',
    ` \r\n{${ASKED}, "stream"\t:\ntrue , "n" : 1 } `,
  ],
  "has keys in another case": ['{"STREAM":true,"Model":"m"}', `{${ASKED},"STREAM":true,"Model":"m"}`],
  "has escapes in its keys": ['{"s\\u0074ream":true}', `{${ASKED},"s\\u0074ream":true}`],
  "has stream_options null": ['{"stream_options":null,"stream":true}', `{${ASKED},"stream":true}`],
  "has stream_options {}": ['{"stream":true,"stream_options":{}}', `{"stream":true,${ASKED}}`],
  "has stream_options { }": [
    '{"stream":true,"stream_options":\n{ } }',
    '{"stream":true,"stream_options":\n{"include_usage":true } }',
  ],
  "has include_usage false": ['{"stream_options":{"include_usage":false},"stream":true}', `{${ASKED},"stream":true}`],
  "has include_usage null": ['{"stream_options":{"include_usage":null},"stream":true}', `{${ASKED},"stream":true}`],
  "has include_usage false among others": [
    '{"stream":true,"stream_options":{"a":[1], "include_usage" : false ,"b":{"include_usage":true}}}',
    '{"stream":true,"stream_options":{"a":[1], "include_usage" : true ,"b":{"include_usage":true}}}',
  ],
  "has Include_Usage false in Stream_Options": [
    '{"stream":true,"Stream_Options":{"Include_Usage":false}}',
    '{"stream":true,"Stream_Options":{"Include_Usage":true}}',
  ],
  "has other stream options": [
    '{"stream":true,"stream_options":{ "a":{"include_usage":false}}}',
    '{"stream":true,"stream_options":{"include_usage":true, "a":{"include_usage":false}}}',
  ],
  "has stream_options in other objects": [
    '{"a":{"stream_options":{"include_usage":true}},"stream":true}',
    `{${ASKED},"a":{"stream_options":{"include_usage":true}},"stream":true}`,
  ],
  "has bytes behind the value": [
    '{"stream":true}\n{"stream":false} \0',
    `{${ASKED},"stream":true}\n{"stream":false} \0`,
  ],
  "says stream twice": ['{"stream":false,"stream":true}', `{${ASKED},"stream":false,"stream":true}`],
  "says stream, and null after it": ['{"stream":true,"stream":null}', `{${ASKED},"stream":true,"stream":null}`],
  "has numbers that JSON.parse would change": [
    '{"stream":true,"seed":9007199254740993,"n":1.10,"x":-0,"y":1E400}',
    `{${ASKED},"stream":true,"seed":9007199254740993,"n":1.10,"x":-0,"y":1E400}`,
  ],
  "has text that looks like JSON": [
    '{"messages":[{"content":"\\"},\\"stream\\":false,\\"stream_options\\":{\\"include_usage\\":true}"}],"stream":true}',
    `{${ASKED},"messages":[{"content":"\\"},\\"stream\\":false,\\"stream_options\\":{\\"include_usage\\":true}"}],"stream":true}`,
  ],
};

for (const [name, [body, asking]] of Object.entries(ASKING)) {
  Deno.test(`parseRequest() requests usage in a body that ${name}`, () => {
    assertEquals(read(body).asking, asking);
    assertEquals(read(body, FACTS).asking, undefined);
  });
}

/** Bodies in which usage must not be asked for. */
const UNTOUCHED: Record<string, string> = {
  "asks for usage": `{"stream":true,${ASKED}}`,
  "asks for usage in another case": '{"stream":true,"STREAM_OPTIONS":{"INCLUDE_USAGE":true}}',
  "asks for usage with escapes": '{"stream":true,"stream\\u005foptions":{"include\\u005fusage":true}}',
  "has include_usage of another type": '{"stream":true,"stream_options":{"include_usage":"x"}}',
  "has include_usage 0": '{"stream":true,"stream_options":{"include_usage":0}}',
  "has include_usage twice": '{"stream":true,"stream_options":{"include_usage":false,"Include_usage":false}}',
  "has stream_options twice": '{"stream":true,"stream_options":{},"stream_options":null}',
  "has stream_options true": '{"stream":true,"stream_options":true}',
  "has stream_options of text": '{"stream":true,"stream_options":"{}"}',
  "has a list of stream_options": '{"stream":true,"stream_options":[{"include_usage":false}]}',
  "does not say stream": '{"model":"m"}',
  "says stream false": '{"stream":false}',
  "says stream null": '{"stream":null}',
  "says stream in text": '{"stream":"true"}',
  "says stream 1": '{"stream":1}',
  "takes stream back": '{"stream":true,"Stream":false}',
  "says stream in a message only": '{"messages":[{"stream":true,"content":"\\"stream\\":true"}]}',
  "is empty": "",
  "is {}": "{}",
  "is null": "null",
  "is a list": '[{"stream":true}]',
  "is text": '"{\\"stream\\":true}"',
  "is cut": '{"model":"m","stream":true',
  "has a byte order mark": '\ufeff{"stream":true}',
  "is a form": '--x\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n--x--\r\n',
};

for (const [name, body] of Object.entries(UNTOUCHED)) {
  Deno.test(`parseRequest() requests nothing in a body that ${name}`, () => {
    assertEquals(read(body).asking, undefined);
  });
}

/** Bodies and the model that they name, as Ollama would read it. */
const MODELS: Record<string, string | undefined> = {
  '{"model":"llama3.2"}': "llama3.2",
  '{"messages":[{"model":"other"}],"model":"m"}': "m",
  '{"MODEL":"m"}': "m",
  '{"model":"\\u00e9"}': "é",
  '{"model":"a","Model":"b"}': "b",
  '{"model":"a","model":null}': "a",
  '{"model":"m"} trailing': "m",
  '{"model":"m","a":tru}': "m",
  '{"model":""}': undefined,
  '{"model":1}': undefined,
  '{"model":["m"]}': undefined,
  '{"model":null}': undefined,
  '{"model":"\n"}': undefined,
  '{"name":"m"}': undefined,
  '{"model":"m"': undefined,
  "": undefined,
  "model=m": undefined,
};

for (const [body, model] of Object.entries(MODELS)) {
  Deno.test(`parseRequest() reads the model ${model} of ${JSON.stringify(body)}`, () => {
    assertEquals(read(body).model, model);
    assertEquals(read(body, FACTS).model, model);
  });
}

Deno.test("parseRequest() reads whether a format is requested", () => {
  const schema = JSON.stringify({ type: "object", description: "x".repeat(10_000) });
  const formats: [string, boolean][] = [
    ['{"format":"json"}', true],
    [`{"format":${schema}}`, true],
    ['{"FORMAT":{}}', true],
    ['{"format":""}', false],
    ['{"format":null}', false],
    ['{"model":"format"}', false],
    ['{"options":{"format":"json"}}', false],
    ["", false],
  ];
  for (const [body, hasFormat] of formats) {
    assertEquals(parseRequest(bytesOf(body), FACTS).hasFormat, hasFormat, body.slice(0, 40));
  }
});

Deno.test("parseRequest() reads whether a stream is asked for", () => {
  const streams: [string, boolean | undefined, byDefault: boolean | undefined][] = [
    ['{"stream":true}', true, true],
    ['{"stream":false}', false, false],
    ['{"STREAM":false}', false, false],
    ['{"stream":true,"stream":false}', false, false],
    ['{"stream":false,"stream":null}', false, false],
    ['{"stream":null}', false, true],
    ['{"options":{"stream":true}}', false, true],
    ['{"model":"m"}', false, true],
    ['{"stream":"true"}', undefined, undefined],
    ['{"stream":1}', undefined, undefined],
    ["[]", undefined, undefined],
    ["", undefined, undefined],
  ];
  for (const [body, isStream, byDefault] of streams) {
    assertEquals(parseRequest(bytesOf(body), FACTS).isStream, isStream, body);
    assertEquals(parseRequest(bytesOf(body), { ...FACTS, streamsByDefault: true }).isStream, byDefault, body);
  }
});

Deno.test("parseRequest() reads options as Ollama does", () => {
  const none = { contextTokens: undefined, keepTokens: undefined };
  const options: [string, RequestOptions | undefined][] = [
    ['{"model":"m"}', none],
    ['{"options":null}', none],
    ['{"options":{"num_ctx":4096,"num_keep":24}}', { contextTokens: 4096, keepTokens: 24 }],
    ['{"OPTIONS":{"num_ctx":4096.9}}', { ...none, contextTokens: 4096 }],
    ['{"options":{"Num_Ctx":4096}}', none],
    ['{"options":{"num_ctx":"4096","num_keep":null}}', none],
    ['{"options":{"num_ctx":1,"num_ctx":2},"options":{"num_keep":3}}', { contextTokens: 2, keepTokens: 3 }],
    ['{"options":{"stop":{"num_ctx":1}}}', none],
    ['{"num_ctx":1}', none],
    ['{"options":[]}', undefined],
    ['{"options":7}', undefined],
    [`{"options":{"num_ctx":1,"stop":["${"x".repeat(5000)}"]}}`, undefined],
    ["", undefined],
  ];
  for (const [body, expected] of options) {
    assertEquals(parseRequest(bytesOf(body), FACTS).options, expected, body.slice(0, 40));
  }
  const ignored = parseRequest(bytesOf('{"options":{"num_ctx":1}}'), { ...FACTS, hasOptions: false });
  assertEquals(ignored.options, none);
});

/** The values that `stream_options` has before and after. */
const OPTIONS: readonly (readonly [before: string, after: unknown])[] = [
  ["null", { include_usage: true }],
  ["{}", { include_usage: true }],
  ['{"include_usage":false}', { include_usage: true }],
  ['{ "include_usage":null,"a":1}', { include_usage: true, a: 1 }],
  ['{"a":{"include_usage":false}}', { a: { include_usage: false }, include_usage: true }],
];

/** Longest piece that asking puts in, with a comma, and that it takes out. */
const LONGEST_IN = ASKED.length + 1;
const LONGEST_OUT = "false".length;

/** Asserts that `after` is `before` with at most one short piece replaced. */
function assertSpliced(before: Uint8Array, after: Uint8Array): void {
  let start = 0;
  while (start < before.length && before[start] === after[start]) start++;
  let end = 0;
  while (end < before.length - start && before.at(-1 - end) === after.at(-1 - end)) end++;
  assert(before.length - start - end <= LONGEST_OUT && after.length - start - end <= LONGEST_IN);
}

Deno.test("parseRequest() changes nothing else in random bodies", () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const writer = new JsonWriter(seed);
    const [before, after] = writer.pick(OPTIONS);
    const members = Array.from({ length: writer.below(5) }, (_, index) => `"member${index}":${writer.value(4)}`);
    const has = writer.below(3) > 0;
    members.splice(writer.below(members.length + 1), 0, '"stream": true');
    if (has) members.splice(writer.below(members.length + 1), 0, `"stream_options":${before}`);
    const body = `${writer.space()}{${members.join(`${writer.space()},`)}}`;
    const bytes = bytesOf(body);
    const { withUsage: asking } = parseRequest(bytes, USAGE);
    assert(asking !== undefined, body);
    const asked = JSON.parse(new TextDecoder().decode(asking));
    assertEquals(asked, { ...JSON.parse(body), stream_options: has ? after : { include_usage: true } }, body);
    assertSpliced(bytes, asking);
    // Asking once more changes nothing, and a body that is cut is left alone.
    assertEquals(parseRequest(asking, USAGE).withUsage, undefined);
    assertEquals(parseRequest(bytes.subarray(0, bytes.length - 1), USAGE).withUsage, undefined);
  }
});

Deno.test("parseRequest() does not change its argument", () => {
  const bytes = bytesOf('{"stream":true,"stream_options":{"include_usage":false}}');
  const copy = bytes.slice();
  assert(parseRequest(bytes, USAGE).withUsage !== undefined);
  assertEquals(bytes, copy);
});

Deno.test("parseRequest() keeps bytes that are not UTF-8", () => {
  const [before, after] = [bytesOf('{"stream":true,"a":"'), bytesOf('"}')];
  const { withUsage: asking } = parseRequest(Uint8Array.from([...before, 0xff, 0xc3, 0x28, ...after]), USAGE);
  assertEquals(asking, Uint8Array.from([...bytesOf(`{${ASKED},"stream":true,"a":"`), 0xff, 0xc3, 0x28, ...after]));
});

Deno.test("parseRequest() reads a model at the limit, and none beyond: shortened it would be another one", () => {
  for (
    const [length, isRead] of [[NAME_LIMIT_BYTES, true], [NAME_LIMIT_BYTES + 1, false], [8_000_000, false]] as const
  ) {
    const model = ":".repeat(length);
    assertEquals(read(`{"model":"${model}"}`).model, isRead ? model : undefined);
    // The last one counts, as for Ollama.
    assertEquals(read(`{"model":"m","model":"${model}"}`).model, isRead ? model : undefined);
  }
});
