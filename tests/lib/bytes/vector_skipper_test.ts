/** Vectors are left out wherever the bytes are cut, and nothing else is. */
import { assertEquals } from "@std/assert";
import { join } from "../../../lib/bytes/byte_queue.ts";
import { VectorSkipper } from "../../../lib/bytes/vector_skipper.ts";

/** What is left of a text that comes in chunks of a size. */
function left(text: string, size: number): string {
  const bytes = new TextEncoder().encode(text);
  const skipper = new VectorSkipper();
  const kept: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) kept.push(...skipper.push(bytes.subarray(at, at + size)));
  return new TextDecoder().decode(join(kept));
}

const CASES: readonly (readonly [text: string, left: string])[] = [
  ['{"embeddings":[[0.01,-0.02],[-1e-7,2]],"n":8}', '{"embeddings":[[],[]],"n":8}'],
  ['{"embeddings":[[-1]],"model":"m"}', '{"embeddings":[[]],"model":"m"}'],
  ['{"embedding":[]}', '{"embedding":[]}'],
  ['{"embeddings":[],"n":[1]}', '{"embeddings":[],"n":[]}'],
  [
    '{"data":[{"embedding":[0.5],"index":0},{"embedding":[5],"index":1}],"usage":{"prompt_tokens":8}}',
    '{"data":[{"embedding":[],"index":0},{"embedding":[],"index":1}],"usage":{"prompt_tokens":8}}',
  ],
  ['{"data":[{"embedding":"AAAA","index":0}],"model":"m"}', '{"data":[{"embedding":"AAAA","index":0}],"model":"m"}'],
  ['{"error":"x"}', '{"error":"x"}'],
  ["[1,2", "["],
  ["", ""],
];

Deno.test("VectorSkipper empties arrays of numbers and nothing else, at every chunk size", () => {
  for (const [text, expected] of CASES) {
    for (let size = 1; size <= text.length + 1; size++) assertEquals(left(text, size), expected, `${size}: ${text}`);
  }
});
