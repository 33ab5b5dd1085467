/** DNS rebinding protection: which browser requests are handled, by their Host header. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { isAllowed } from "../../../lib/web/browser_guard.ts";
import { SETTINGS } from "../../../lib/settings/settings.ts";
import { startFakeOllama } from "../../fake_ollama/mod.ts";
import { CHAT, startExporter } from "../../support/helpers.ts";
import { ask, type RawResponse, valuesOf } from "../../support/raw_client.ts";

/** Hosts that are always allowed: public DNS does not resolve them. */
const LOCAL = [
  "localhost",
  "LocalHost:8000",
  "localhost.",
  "localhost.:8000",
  "app.localhost",
  "a.b.localhost:8000",
  "127.0.0.1",
  "127.0.0.1:8000",
  "0.0.0.0:8000",
  "192.168.1.5",
  // Addresses are not looked up, not even public ones.
  "8.8.8.8:8000",
  "[::1]",
  "[::1]:8000",
  "[::1]:",
  "[fd00::1:2]:8000",
  "[2001:db8::1]",
  "[::ffff:127.0.0.1]:8000",
  "ollama",
  "ollama:8000",
  "OLLAMA.",
  "box.local",
  "BOX.Local:8000",
  "box.local.",
  "host.docker.internal:11434",
  "a.internal",
  // An address in decimal, which browsers normalize.
  "2130706433",
  "2130706433:8000",
  "",
  ":8000",
];

/** Names whose owners can point them anywhere. */
const FOREIGN = [
  "evil.com",
  "evil.com:8000",
  "EVIL.com.",
  "evil.com.:80",
  "127.0.0.1.evil.com",
  "127.0.0.1.evil.com:8000",
  "127.0.0.1.nip.io",
  "localhost.evil.com",
  "localhost.com",
  "evillocalhost.com",
  "box.local.evil.com",
  "internal.evil.com",
  "notlocal.xlocal",
  "a.xlocalhost",
  "a.xinternal",
  "1.2.3.4.5",
  "1.2.3",
  "0x7f.0.0.1",
  "127.0.0.1x",
  "x127.0.0.1",
  "[::1].evil.com",
  "[::1]evil.com",
  "[evil.com]",
  "[::1].evil.com:8000",
  "a.b.c.d.evil.example",
];

/** Headers of which each marks a browser request. */
const MARKS: Record<string, string>[] = [
  { origin: "http://evil.com" },
  { origin: "null" },
  { origin: "" },
  { "sec-fetch-site": "same-origin" },
  { "sec-fetch-mode": "navigate" },
  { "sec-fetch-dest": "document" },
  { "sec-fetch-user": "?1" },
];

function headersOf(host: string, mark: Record<string, string>): Headers {
  return new Headers({ host, ...mark });
}

Deno.test("isAllowed() allows browser requests to addresses and local names", () => {
  for (const mark of MARKS) {
    for (const host of LOCAL) assert(isAllowed(headersOf(host, mark), []), `${host} ${JSON.stringify(mark)}`);
    assert(isAllowed(new Headers(mark), []), "without a Host header");
  }
});

Deno.test("isAllowed() rejects browser requests to other names", () => {
  for (const mark of MARKS) {
    for (const host of FOREIGN) assert(!isAllowed(headersOf(host, mark), []), `${host} ${JSON.stringify(mark)}`);
  }
});

Deno.test("isAllowed() allows requests of other clients to any name", () => {
  for (const host of [...LOCAL, ...FOREIGN]) {
    assert(isAllowed(headersOf(host, { "user-agent": "ollama/0.33.0", accept: "*/*" }), []), host);
  }
});

/** Hosts, allowed hosts, and whether the host is allowed. */
const LISTED: [string, string[], boolean][] = [
  ["ollama.example.com", ["ollama.example.com"], true],
  ["Ollama.Example.com.:8000", ["ollama.example.com"], true],
  ["ollama.example.com", ["other.example.com", "ollama.example.com"], true],
  ["example.com", ["ollama.example.com"], false],
  ["x.ollama.example.com", ["ollama.example.com"], false],
  ["evilollama.example.com", ["ollama.example.com"], false],
  ["ollama.example.com.evil.com", ["ollama.example.com"], false],
  ["ollama.example.com", ["*.example.com"], true],
  ["a.b.example.com:443", ["*.example.com"], true],
  ["A.EXAMPLE.COM", ["*.example.com"], true],
  ["example.com", ["*.example.com"], false],
  ["example.com", ["*.example.com", "example.com"], true],
  ["evilexample.com", ["*.example.com"], false],
  ["a.example.com.evil.com", ["*.example.com"], false],
  ["a.example.org", ["*.example.com"], false],
  // The hostname of the machine is allowed by main.ts.
  ["box.example.net", [Deno.hostname().toLowerCase(), "box.example.net"], true],
  [`${Deno.hostname()}:8000`, [Deno.hostname().toLowerCase()], true],
];

for (const [host, allowed, expected] of LISTED) {
  Deno.test(`isAllowed() ${expected ? "allows" : "rejects"} ${host} if allowed hosts are ${allowed}`, () => {
    for (const mark of MARKS) assertEquals(isAllowed(headersOf(host, mark), allowed), expected);
  });
}

Deno.test("isAllowed() matches the parsed value of ALLOWED_HOSTS", () => {
  const allowed = SETTINGS.allowedHosts.parse(" Ollama.Example.com , *.EXAMPLE.org ") ?? [];
  for (
    const [host, expected] of [["ollama.example.com", true], ["a.example.org", true], ["example.org", false]] as const
  ) {
    assertEquals(isAllowed(headersOf(host, { origin: "null" }), allowed), expected, host);
  }
});

/** Headers of a browser request. */
const BROWSER = ["Origin: http://evil.com:8000", "Sec-Fetch-Site: same-origin", "User-Agent: Mozilla/5.0"];

Deno.test("createHandlers() rejects browser requests to foreign names on every path and names the setting", async () => {
  await using fake = await startFakeOllama({ hostCheck: false });
  await using exporter = startExporter(fake);
  const lines = [
    "GET /api/tags",
    "POST /api/chat",
    "GET /metrics",
    "GET /-/healthy",
    "GET /-/ready",
    "OPTIONS /api/chat",
  ];
  for (const line of lines) {
    const body = line.startsWith("POST") ? JSON.stringify(CHAT) : null;
    const rejected = await ask(exporter.port, line, ["Host: evil.com:8000", ...BROWSER], body);
    assertEquals([rejected.status, valuesOf(rejected, "content-type")], [403, ["text/plain; charset=utf-8"]], line);
    assertStringIncludes(rejected.body, SETTINGS.allowedHosts.variable);
    assertEquals(rejected.body.trimEnd().split("\n").length, 1);
    assertEquals(valuesOf(rejected, "access-control-allow-origin"), []);
  }
  assertEquals(fake.requestCount, 0);
  for (const line of lines.slice(0, -1)) {
    const body = line.startsWith("POST") ? JSON.stringify(CHAT) : null;
    // Another client with the same Host, and a browser with a local one.
    assertEquals((await ask(exporter.port, line, ["Host: evil.com:8000"], body)).status, 200, line);
    const local = ["Host: localhost:8000", "Origin: http://localhost:3000", "Sec-Fetch-Site: same-site"];
    assertEquals((await ask(exporter.port, line, local, body)).status, 200, line);
  }
});

Deno.test("createHandlers() allows browser requests to allowed hosts", async () => {
  await using fake = await startFakeOllama({ hostCheck: false, origins: ["*"] });
  await using exporter = startExporter(fake, { allowedHosts: ["*.example.com"] });
  const status = async (host: string) =>
    (await ask(exporter.port, "GET /api/tags", [`Host: ${host}`, `Origin: https://${host}`])).status;
  assertEquals([await status("ollama.example.com"), await status("example.com")], [200, 403]);
});

/** Normalizes a response for comparison. `fetch` joins repeated headers. */
function comparable({ status, headers, body }: RawResponse): unknown {
  const values = headers.filter(([name]) => name.toLowerCase() !== "date")
    .flatMap(([name, value]) => value.split(", ").map((one) => `${name.toLowerCase()}: ${one}`));
  return { status, headers: values.sort(), body };
}

Deno.test("createHandlers() leaves CORS to Ollama", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  for (const origin of ["http://localhost:3000", "app://obsidian.md", "https://evil.com", "null"]) {
    const preflight = [`Origin: ${origin}`, "Access-Control-Request-Method: POST", "Host: localhost:11434"];
    const rows: [string, string[], string | null][] = [
      ["OPTIONS /api/chat", [...preflight, "Access-Control-Request-Headers: content-type"], null],
      ["GET /api/version", [`Origin: ${origin}`, "Host: localhost:11434", "Sec-Fetch-Mode: cors"], null],
    ];
    for (const [line, headers, body] of rows) {
      const direct = await ask(fake.port, line, headers, body);
      const proxied = await ask(exporter.port, line, headers, body);
      assertEquals(comparable(proxied), comparable(direct), `${line} ${origin}`);
      assertEquals(fake.lastRequest().headers("origin"), [origin]);
    }
  }
});
