/** DNS rebinding protection: which requests are handled, by host, client and listener. */

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
  "box.lan",
  "BOX.lan.:8000",
  "box.home.arpa",
  "ollama.ai.svc",
  "ollama.ai.svc.cluster.local:8000",
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
  "box.xlan",
  "box.arpa",
  "lan.evil.com",
  "ollama.ai.xsvc",
  "svc.cluster.evil.com",
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

const CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36";
const FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
const SAFARI =
  "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15";
const LANGUAGE = { "accept-language": "en-US,en;q=0.9" };
const PAGE = "http://evil.example.com:8000";

/** Headers of requests that web pages can cause, as far as they tell who sent them. */
const BROWSERS: Record<string, Record<string, string>> = {
  "Chromium, navigation over HTTP": { "user-agent": CHROME, ...LANGUAGE, "upgrade-insecure-requests": "1" },
  "Chromium, GET and HEAD over HTTP": { "user-agent": CHROME, ...LANGUAGE, referer: `${PAGE}/` },
  "Chromium, GET without a referrer": { "user-agent": CHROME, ...LANGUAGE },
  "Chromium, GET with an empty Accept-Language": { "user-agent": CHROME, "accept-language": "" },
  "Chromium, EventSource": { "user-agent": CHROME, ...LANGUAGE, accept: "text/event-stream", pragma: "no-cache" },
  "Chromium, POST over HTTP": { "user-agent": CHROME, ...LANGUAGE, origin: PAGE, referer: `${PAGE}/` },
  "Chromium, POST of a sandboxed frame": { "user-agent": CHROME, ...LANGUAGE, origin: "null" },
  "Chromium, GET over HTTPS": {
    "user-agent": CHROME,
    "sec-fetch-site": "same-origin",
    "sec-fetch-mode": "cors",
    "sec-fetch-dest": "empty",
  },
  "Chromium, WebSocket": { "user-agent": CHROME, ...LANGUAGE, origin: PAGE, upgrade: "websocket" },
  "Firefox, GET over HTTP": { "user-agent": FIREFOX, "accept-language": "en-US,en;q=0.5", "priority": "u=4" },
  "Firefox, DELETE over HTTP": { "user-agent": FIREFOX, "accept-language": "en-US,en;q=0.5", origin: PAGE },
  "Firefox, GET by a page that sets User-Agent": { "user-agent": "x", ...LANGUAGE, referer: `${PAGE}/` },
  "Safari, GET over HTTP": { "user-agent": SAFARI, "accept-language": "en-GB,en;q=0.9" },
  "Safari, POST over HTTP": { "user-agent": SAFARI, "accept-language": "en-GB,en;q=0.9", origin: PAGE },
  "an Origin in capitals": { origin: "HTTPS://EVIL.EXAMPLE.COM" },
  "an Origin that is no URL": { origin: "evil" },
  "an empty Origin": { origin: "" },
  "only an Origin": { origin: "https://evil.example.com" },
  "only Sec-Fetch-Site": { "sec-fetch-site": "cross-site" },
  "only Referer": { referer: "https://evil.example.com/" },
};

/** The same of clients that no web page controls. */
const CLIENTS: Record<string, Record<string, string>> = {
  "nothing": {},
  "ollama's CLI": { "user-agent": "ollama/0.33.0 (amd64 linux) Go/go1.26.0", accept: "application/x-ndjson" },
  "curl": { "user-agent": "curl/7.88.1", accept: "*/*" },
  "Go": { "user-agent": "Go-http-client/1.1", "accept-encoding": "gzip" },
  "Java HttpClient": { "user-agent": "Java-http-client/17.0.15", connection: "Upgrade, HTTP2-Settings" },
  "Java HttpURLConnection": { "user-agent": "Java/17.0.15", accept: "text/html, image/gif, image/jpeg, */*; q=0.2" },
  "Node fetch": { "user-agent": "node", "sec-fetch-mode": "cors", "accept-language": "*", accept: "*/*" },
  "ollama-js": {
    "user-agent": "ollama-js/0.6.4 (x64 linux Node.js/v22.18.0)",
    "sec-fetch-mode": "cors",
    "accept-language": "*",
  },
  "openai-node": { "user-agent": "OpenAI/JS 7.57.0", "sec-fetch-mode": "cors", "accept-language": "*" },
  "Deno fetch": { "user-agent": "Deno/2.9.6", "accept-language": "*", accept: "*/*" },
  "python-requests": { "user-agent": "python-requests/2.34.2", accept: "*/*", "accept-encoding": "gzip, deflate" },
  "httpx": { "user-agent": "python-httpx/0.28.1", accept: "*/*", "accept-encoding": "gzip, deflate" },
  "aiohttp": { "user-agent": "Python/3.11 aiohttp/3.14.5", accept: "*/*" },
  "urllib": { "user-agent": "Python-urllib/3.11", "accept-encoding": "identity", connection: "close" },
  "PowerShell": { "user-agent": "Mozilla/5.0 (Windows NT 10.0; Microsoft Windows 10.0.22631; en-US) PowerShell/7.5.0" },
  "Windows PowerShell": {
    "user-agent": "Mozilla/5.0 (Windows NT; Windows NT 10.0; de-DE) WindowsPowerShell/5.1.22621",
  },
  "a program with languages": { "user-agent": "reqwest/0.12", "accept-language": "de" },
  "Prometheus": { "user-agent": "Prometheus/3.5.0", accept: "application/openmetrics-text;version=1.0.0" },
  "Electron": { "user-agent": CHROME, ...LANGUAGE, origin: "app://obsidian.md", "sec-fetch-site": "cross-site" },
  "Tauri": { "user-agent": SAFARI, ...LANGUAGE, origin: "tauri://localhost", "sec-fetch-site": "cross-site" },
  "VS Code": { "user-agent": CHROME, ...LANGUAGE, origin: "vscode-webview://1k2j3", "sec-fetch-site": "cross-site" },
  "a Chromium extension": {
    "user-agent": CHROME,
    ...LANGUAGE,
    origin: "chrome-extension://mhbdjcblimfpkcmjdlpbhlmgcokmkdjp",
    "sec-fetch-site": "none",
    "sec-fetch-mode": "cors",
  },
  "a Firefox extension": {
    "user-agent": FIREFOX,
    ...LANGUAGE,
    origin: "moz-extension://b7d5a2e0-0f4e-4d53-9c3e-1a2b3c4d5e6f",
    referer: "https://evil.example.com/",
  },
};

const NETWORK = { isLoopback: false, allowedHosts: [] };
const LOOPBACK = { isLoopback: true, allowedHosts: [] };

Deno.test("isAllowed() allows addresses and local names to everyone on every listener", () => {
  for (const rules of [NETWORK, LOOPBACK]) {
    for (const [client, headers] of Object.entries({ ...BROWSERS, ...CLIENTS })) {
      for (const host of LOCAL) assert(isAllowed(host, new Headers(headers), rules), `${client}: ${host}`);
    }
  }
});

for (const [client, headers] of Object.entries(BROWSERS)) {
  Deno.test(`isAllowed() rejects foreign names from a browser on every listener: ${client}`, () => {
    for (const host of FOREIGN) {
      assert(!isAllowed(host, new Headers(headers), NETWORK), host);
      assert(!isAllowed(host, new Headers(headers), LOOPBACK), host);
    }
  });
}

for (const [client, headers] of Object.entries(CLIENTS)) {
  Deno.test(`isAllowed() rejects foreign names from another client on loopback only: ${client}`, () => {
    for (const host of FOREIGN) {
      assert(isAllowed(host, new Headers(headers), NETWORK), host);
      assert(!isAllowed(host, new Headers(headers), LOOPBACK), host);
    }
  });
}

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
    const headers = new Headers({ origin: PAGE });
    for (const isLoopback of [false, true]) {
      assertEquals(isAllowed(host, headers, { isLoopback, allowedHosts: allowed }), expected);
    }
  });
}

Deno.test("isAllowed() matches the parsed value of ALLOWED_HOSTS", () => {
  const allowedHosts = SETTINGS.allowedHosts.parse(" Ollama.Example.com , *.EXAMPLE.org ") ?? [];
  for (
    const [host, expected] of [["ollama.example.com", true], ["a.example.org", true], ["example.org", false]] as const
  ) {
    assertEquals(isAllowed(host, new Headers({ origin: "null" }), { ...NETWORK, allowedHosts }), expected, host);
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
