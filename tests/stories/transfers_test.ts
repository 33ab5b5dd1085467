/** Pulls, pushes and creates: outcomes, and bytes transferred, each digest once. */

import { assertEquals } from "@std/assert";
import { type Operation, OPERATIONS, type Outcome } from "../../lib/observation.ts";
import { type Endpoint, ENDPOINTS } from "../../lib/reading/endpoints.ts";
import { apiRequest } from "../support/api_requests.ts";
import { type FakeBehaviour, type FakeOllama, startFakeOllama } from "../fake_ollama/mod.ts";
import { type Scrape, startExporter, type TestExporter } from "../support/helpers.ts";

/** Bytes of the fake's layers. */
const LAYERS_BYTES = 1321082688 + 7711;

const TRANSFERS = ENDPOINTS.filter((endpoint): endpoint is Endpoint & { operation: Operation } =>
  endpoint.operation !== undefined
);

function endpointOf(operation: Operation): Endpoint {
  const endpoint = TRANSFERS.find((endpoint) => endpoint.operation === operation);
  if (endpoint === undefined) throw new Error(operation);
  return endpoint;
}

/** Sends a request through a new exporter, and returns the metrics after it. */
async function transfer(fake: FakeOllama, endpoint: Endpoint, streamed: boolean, changes = {}): Promise<Scrape> {
  await using exporter = startExporter(fake);
  const response = await fetch(exporter.url + endpoint.route, apiRequest(endpoint, streamed, changes).init);
  await response.text().catch(() => {});
  await exporter.observation();
  return await exporter.scrape();
}

/** Asserts the outcome and the bytes of one transfer; all other series exist and are 0. */
function assertTransfer(scrape: Scrape, operation: Operation, outcome: Outcome, bytes: number): void {
  assertEquals(scrape.value("ollama_transfers_total", { operation, outcome }), 1);
  assertEquals(scrape.value("ollama_transfers_total"), 1);
  assertEquals(scrape.value("ollama_transfer_bytes_total", { operation }), bytes);
  assertEquals(scrape.value("ollama_transfer_bytes_total"), bytes);
  // It is not an inference request.
  assertEquals(scrape.value("ollama_requests_total"), 0);
}

for (const endpoint of TRANSFERS) {
  const { operation, route } = endpoint;
  const moved = operation === "create" ? 0 : LAYERS_BYTES;
  Deno.test(`createExporter() counts a ${operation} and its bytes, streamed or not`, async () => {
    await using fake = await startFakeOllama();
    const streamed = await transfer(fake, endpoint, true);
    assertTransfer(streamed, operation, "ok", moved);
    assertEquals(streamed.value("ollama_http_requests_total", { route, method: "POST", code: "200" }), 1);
    // Without a stream there is no progress.
    assertTransfer(await transfer(fake, endpoint, false), operation, "ok", 0);
  });

  Deno.test(`createExporter() counts the same bytes of a ${operation} in any chunks`, async () => {
    const splits: FakeBehaviour["split"][] = ["all", { bytes: 7 }, { seed: 3 }, { messages: 2 }];
    await using fake = await startFakeOllama();
    for (const split of splits) {
      fake.behaviour.split = split;
      assertTransfer(await transfer(fake, endpoint, true), operation, "ok", moved);
    }
  });

  const third = Math.floor(1321082688 / 3);
  /** Outcomes, and the bytes transferred by then. */
  const ends: [Outcome, Partial<FakeBehaviour>, number][] = [
    ["stream_error", { fault: { kind: "error", afterMessages: 3 } }, third],
    ["incomplete", { fault: { kind: "silent_eof", afterMessages: 4 } }, third * 2],
    ["upstream_broken", { fault: { kind: "reset", afterMessages: 3 } }, third],
    ["server_error", { fault: { kind: "error", afterMessages: 0 } }, 0],
    ["client_error", { status: 400 }, 0],
    ["server_error", { status: 503 }, 0],
  ];
  Deno.test(`createExporter() counts the outcome of a ${operation} and the bytes transferred by then`, async () => {
    for (const [outcome, behaviour, bytes] of ends) {
      await using fake = await startFakeOllama(behaviour);
      const scrape = await transfer(fake, endpoint, true);
      assertTransfer(scrape, operation, outcome, operation === "create" ? 0 : bytes);
    }
  });
}

Deno.test("createExporter() counts a pull whose client disconnects", async () => {
  await using fake = await startFakeOllama({ fault: { kind: "stall", afterMessages: 3 } });
  await using exporter = startExporter(fake);
  const leave = new AbortController();
  const { endpoint, init } = apiRequest(endpointOf("pull"), true);
  const response = await fetch(exporter.url + endpoint.route, { ...init, signal: leave.signal });
  await readUntil(response, '"completed"');
  leave.abort();
  await exporter.observation();
  assertTransfer(await exporter.scrape(), "pull", "client_closed", Math.floor(1321082688 / 3));
});

/** Reads until a text has arrived. */
async function readUntil(response: Response, text: string): Promise<void> {
  let read = "";
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  while (!read.includes(text)) read += (await reader?.read())?.value ?? "";
}

/** Progress messages of a completed pull, and the bytes transferred. */
const PROGRESS: Record<string, { messages: unknown[]; bytes: number; parseErrors?: number }> = {
  "repeated progress of a digest": {
    messages: [{ digest: "a", total: 30 }, { digest: "a", completed: 10 }, { digest: "a", completed: 10 }],
    bytes: 30,
  },
  "several digests at once": {
    messages: [{ digest: "a", total: 20 }, { digest: "b", total: 5 }, { digest: "a", total: 20, completed: 11 }],
    bytes: 25,
  },
  "a digest that restarts": {
    messages: [{ digest: "a", total: 60 }, { digest: "a", completed: 50 }, { digest: "a", completed: 20 }],
    bytes: 60,
  },
  "a pull that is resumed": {
    messages: [{ digest: "a", total: 100, completed: 40 }, { digest: "a", total: 100, completed: 90 }],
    bytes: 60,
  },
  "a pull of an installed model": {
    messages: [{ digest: "a", total: 4_700_000_000, completed: 4_700_000_000 }, {
      digest: "b",
      total: 9,
      completed: 9,
    }],
    bytes: 0,
  },
  "a digest without progress": { messages: [{ digest: "a", completed: 10 }], bytes: 0 },
  "bytes without a digest": { messages: [{ completed: 10, total: 10 }], bytes: 0 },
  "invalid byte counts": {
    messages: [
      { digest: "a", completed: "9" },
      { digest: "a", completed: -1 },
      { digest: "a", completed: 1e308 },
      { digest: "a", total: -1 },
      { digest: "a", total: 3 },
    ],
    bytes: 3,
    parseErrors: 4,
  },
};

for (const [name, { messages, bytes, parseErrors = 0 }] of Object.entries(PROGRESS)) {
  Deno.test(`createExporter() counts the bytes of ${name}`, async () => {
    const body = [...messages, { status: "success" }].map((message) => `${JSON.stringify(message)}\n`).join("");
    await using fake = await startFakeOllama({
      script: async ({ method }, connection) => {
        if (method !== "POST") return;
        await connection.write(
          "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n" + body,
        );
        connection.close();
      },
    });
    const scrape = await transfer(fake, endpointOf("pull"), true);
    assertTransfer(scrape, "pull", "ok", bytes);
    assertEquals(scrape.value("ollama_exporter_parse_errors_total", { reason: "invalid_value" }), parseErrors);
  });
}

Deno.test("ENDPOINTS has a route for each operation", () => {
  assertEquals(TRANSFERS.map(({ operation }) => operation), [...OPERATIONS]);
});

Deno.test("createExporter() has a series for each operation from the start", async () => {
  await using fake = await startFakeOllama();
  await using exporter: TestExporter = startExporter(fake);
  const scrape = await exporter.scrape();
  for (const operation of OPERATIONS) {
    assertEquals(scrape.value("ollama_transfers_total", { operation, outcome: "ok" }), 0);
    assertEquals(scrape.value("ollama_transfer_bytes_total", { operation }), 0);
  }
});
