/** Log lines of the start. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { createLog } from "../../../lib/log/log.ts";
import { logStart, type StartFacts } from "../../../lib/log/log_start.ts";
import { parseCommand } from "../../../lib/settings/command.ts";

const DEFECT = "Deno.serve rejects something";

/** Log lines of a start with these flags, without their times. */
function linesOf(args: readonly string[], changed: Partial<StartFacts> = {}): string[] {
  const command = parseCommand(args, () => undefined, "machine");
  if (command.name !== "serve") throw new Error("not to be served");
  const { config, given } = command;
  const lines: string[] = [];
  logStart(createLog({ level: "INFO", format: "text", write: (line) => lines.push(line) }), {
    config,
    given,
    version: "1.2.3",
    choice: { server: "node", defect: DEFECT },
    isTls: false,
    isPassed: false,
    proxy: config.listenAddress,
    admin: config.metricsListenAddress ?? config.listenAddress,
    ...changed,
  });
  return lines.map((line) => line.replace(/^time=\S+ /, ""));
}

/** Address settings and the URLs of the line, which can be opened in a browser. */
const URLS: [args: string[], isTls: boolean, url: string, admin: string][] = [
  [[], false, "http://localhost:8000", "http://localhost:8000"],
  [[], true, "https://localhost:8000", "https://localhost:8000"],
  [["--web.listen-address=0.0.0.0:1"], false, "http://localhost:1", "http://localhost:1"],
  [["--web.listen-address=[::1]:1"], false, "http://[::1]:1", "http://[::1]:1"],
  [["--web.listen-address=a.example:1"], false, "http://a.example:1", "http://a.example:1"],
  [["--web.metrics-listen-address=10.0.0.1:2"], true, "http://localhost:8000", "https://10.0.0.1:2"],
];

for (const [args, isTls, url, admin] of URLS) {
  Deno.test(`logStart() logs URLs to open (${args}${isTls ? " TLS" : ""})`, () => {
    const [line = ""] = linesOf(args, { isTls });
    assertStringIncludes(line, `level=INFO msg=Listening version=1.2.3 address=`);
    assertStringIncludes(
      line,
      ` url=${url} ollama=http://localhost:11434/ metrics=${admin}/metrics status=${admin}/-/`,
    );
  });
}

Deno.test("logStart() logs which HTTP server is used and why, and warns of a server with a defect", () => {
  const server = (args: readonly string[], choice: StartFacts["choice"]): string[] =>
    linesOf([...args, "--web.listen-address=127.0.0.1:1"], { choice }).slice(1);
  const rest = ` deno=${Deno.version.deno} setting=WEB_SERVER`;
  assertEquals(server([], { server: "node", defect: DEFECT }), [
    `level=INFO msg="HTTP server is node:http" reason="${DEFECT}"${rest}`,
  ]);
  assertEquals(server([], { server: "deno", defect: undefined }), [
    `level=INFO msg="HTTP server is Deno.serve" reason="Deno.serve passed the check at start"${rest}`,
  ]);
  assertEquals(server(["--web.server=deno"], { server: "deno", defect: DEFECT }), [
    `level=WARN msg="HTTP server is Deno.serve, which failed the check at start" reason="${DEFECT}"${rest}`,
  ]);
  assertEquals(server(["--web.server=node"], { server: "deno", defect: DEFECT }), [
    `level=WARN msg="HTTP server is Deno.serve" reason="${DEFECT}"${rest}`,
  ]);
  assertEquals(server(["--web.server=deno"], { server: "deno", defect: undefined }), []);
  assertEquals(server(["--web.server=node"], { server: "node", defect: undefined }), []);
});

/** The level of the line that says that Ollama can be reached from the network. */
const LEVELS: [args: string[], level: string | undefined][] = [
  [[], "INFO"],
  [["--web.listen-address=:8000"], "WARN"],
  [["--web.listen-address=0.0.0.0:8000"], "WARN"],
  [["--web.listen-address=127.0.0.1:8000"], undefined],
  [["--web.listen-address=localhost:8000"], undefined],
  [["--ollama.host=127.0.0.1"], "INFO"],
  [["--ollama.host=[::1]"], "INFO"],
  [["--ollama.host=192.168.1.2"], undefined],
  [["--ollama.host=ollama.example.com"], undefined],
];

for (const [args, level] of LEVELS) {
  Deno.test(`logStart() tells at ${level ?? "no level"} that Ollama is reachable from the network (${args})`, () => {
    const lines = linesOf([...args, "--web.server=node"], { choice: { server: "node", defect: undefined } }).slice(1);
    assertEquals(lines.length, level === undefined ? 0 : 1);
    if (level === undefined) return;
    const text = "Ollama's API is reachable from the network without authentication; set LISTEN_ADDRESS=127.0.0.1:8000";
    assertStringIncludes(lines[0] ?? "", `level=${level} msg="${text} to keep it local"`);
  });
}

Deno.test("logStart() names the setting of the socket unit where systemd opened the socket", () => {
  const line = linesOf([], { isPassed: true, proxy: { hostname: "::", port: 9 } }).at(-1) ?? "";
  assertStringIncludes(line, "level=WARN");
  assertStringIncludes(line, "; set ListenStream=127.0.0.1:9 to keep it local");
});

Deno.test("logStart() warns of client settings without effect", () => {
  const warnings = (...args: string[]): string[] =>
    linesOf(["--web.listen-address=127.0.0.1:1", ...args]).filter((line) => line.includes("has no effect"));
  const keys = "--metrics.client-keys-file=keys";
  const proxies = "--web.trusted-proxies=10.0.0.7";
  assertEquals(warnings(keys, proxies), [
    'level=WARN msg="CLIENT_KEYS_FILE has no effect without CLIENT_LABEL=api-key"',
    'level=WARN msg="TRUSTED_PROXIES has no effect without CLIENT_LABEL=address"',
  ]);
  assertEquals(warnings("--metrics.client-label=address", keys, proxies), [
    'level=WARN msg="CLIENT_KEYS_FILE has no effect without CLIENT_LABEL=api-key" client_label=address',
  ]);
  assertEquals(warnings("--metrics.client-label=api-key", keys), []);
  assertEquals(warnings(), []);
});
