/** A real Prometheus scrapes the running program: over TLS, with a password, in OpenMetrics, with exemplars stored. */

import { assert, assertEquals, assertRejects, fail } from "@std/assert";
import type { Declaration } from "../../lib/metrics/registry.ts";
import { declarations } from "../../tools/readme.ts";
import { apiRequests } from "../support/api_requests.ts";
import { FIRST, SECOND } from "../support/certificates.ts";
import { Process, testWith } from "../support/deployment.ts";
import { type FakeOllama, startFakeOllama } from "../fake_ollama/mod.ts";
import { CHAT, delay, Gate, PATIENCE_MS } from "../support/helpers.ts";
import { Program } from "../support/program.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT = `00-${TRACE_ID}-00f067aa0ba902b7-01`;
/** The header of a request that Ollama does not respond to before the gate opens. */
const HELD = "x-held";

/** TLS, and a user whose password is `secret`. */
const WEB_CONFIG = `
tls_server_config: {cert_file: cert.pem, key_file: key.pem}
basic_auth_users:
  prometheus: $2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW
`;

/** An Ollama that causes every metric to have a value. */
function startBusyOllama(): Promise<FakeOllama> {
  return startFakeOllama({
    release: "0.40",
    cachedTokens: 20,
    toolCalls: [{ name: "get_time", arguments: { tz: "UTC" } }],
    // Without a duration there is no speed.
    tokenDelayMs: 2,
    choose: (request) => request.headers("x-omit-usage").length > 0 ? { omitUsage: true } : undefined,
  });
}

/** A Prometheus in a folder of its own, and a client of its API. */
class Prometheus extends Process {
  #url = "";

  /** Starts one that scrapes this port. */
  static async start(folder: TemporaryFolder, port: number): Promise<Prometheus> {
    const config = {
      global: { scrape_interval: "1s", scrape_timeout: "1s" },
      scrape_configs: [{
        job_name: "ollama",
        scheme: "https",
        tls_config: { ca_file: "cert.pem" },
        basic_auth: { username: "prometheus", password: "secret" },
        static_configs: [{ targets: [`127.0.0.1:${port}`] }],
      }],
    };
    const prometheus = new Prometheus("prometheus", [
      // JSON is YAML.
      `--config.file=${folder.write("prometheus.yml", JSON.stringify(config))}`,
      `--storage.tsdb.path=${folder.path}/data`,
      "--web.listen-address=127.0.0.1:0",
      "--enable-feature=exemplar-storage",
    ], { env: { PATH: Deno.env.get("PATH") ?? "" }, cwd: folder.path });
    const [, address] = await prometheus.waitFor(/msg="Listening on" address=(127\.0\.0\.1:[1-9]\d*)/);
    prometheus.#url = `http://${address}`;
    return prometheus;
  }

  /** Requests an endpoint of its API. */
  // deno-lint-ignore no-explicit-any -- JSON of another program, which the tests read.
  async ask(path: string, parameters: Record<string, string> = {}): Promise<any> {
    const response = await fetch(`${this.#url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const { status, data, error } = await response.json();
    if (status !== "success") fail(`${path}: ${error}`);
    return data;
  }

  /** Repeats a check until it finds no problem. */
  async until(complaints: () => Promise<string[]>): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const found = await complaints();
      if (found.length === 0) return;
      if (performance.now() > deadline) fail(`${found.join("\n")}\n${JSON.stringify(await this.ask("targets"))}`);
      await delay(100);
    }
  }
}

/** Returns the names of the series of a metric. */
function seriesOf({ name, type }: Declaration): string[] {
  return type === "histogram" ? ["bucket", "sum", "count"].map((suffix) => `${name}_${suffix}`) : [name];
}

/** Sends requests of all kinds, each in a trace, and one that stays open. */
async function makeTraffic(url: string, client: Deno.HttpClient): Promise<{ held: Promise<Response> }> {
  const headers = { traceparent: TRACEPARENT };
  for (const { endpoint, init, name } of apiRequests()) {
    const response = await fetch(url + endpoint.route, { ...init, client, headers });
    await response.text();
    assertEquals(response.status, 200, name);
  }
  const chat = { method: "POST", body: JSON.stringify(CHAT), client };
  await (await fetch(`${url}/api/chat`, { ...chat, headers: { "x-omit-usage": "1" } })).text();
  await (await fetch(`${url}/other`, { client })).text();
  const held = fetch(`${url}/api/chat`, { ...chat, headers: { [HELD]: "1" } });
  // If the test fails before, nothing awaits it.
  held.catch(() => {});
  return { held };
}

/** Returns the problems of the stored exemplars. */
async function exemplarFaults(prometheus: Prometheus): Promise<string[]> {
  const faults: string[] = [];
  const range = { start: String(Date.now() / 1000 - 3600), end: String(Date.now() / 1000 + 3600) };
  for (const name of ["ollama_response_seconds", "ollama_time_to_first_token_seconds"]) {
    const found = await prometheus.ask("query_exemplars", { query: `${name}_bucket`, ...range });
    for (const { seriesLabels, exemplars } of found) {
      for (const { labels, value } of exemplars) {
        assertEquals(labels, { trace_id: TRACE_ID });
        assert(Number(value) > 0 && Number(value) <= Number(seriesLabels.le.replace("+Inf", "Infinity")));
      }
    }
    if (found.length === 0) faults.push(`There is no exemplar of ${name}`);
  }
  return faults;
}

/** Checks that the target is up, and that its metadata match the declarations of the metrics. */
async function checkTarget(prometheus: Prometheus, declared: readonly Declaration[]): Promise<void> {
  const { activeTargets: [target] } = await prometheus.ask("targets");
  assertEquals([target.health, target.lastError], ["up", ""]);
  const metadata = await prometheus.ask("targets/metadata");
  // In OpenMetrics the name of a counter has no suffix.
  for (const { name, type, help } of declared) {
    const metric = type === "counter" ? name.replace(/_total$/, "") : name;
    const found = metadata.filter((row: { metric: string }) => row.metric === metric);
    assertEquals(found.map((row: { type: string; help: string }) => [row.type, row.help]), [[type, help]], name);
  }
}

/** Checks that the metrics need the password, and that health checks and clients of Ollama do not. */
async function checkGuard(url: string, client: Deno.HttpClient): Promise<void> {
  const status = async (path: string, credentials?: string) => {
    const headers: HeadersInit = credentials === undefined ? {} : { authorization: `Basic ${btoa(credentials)}` };
    const response = await fetch(url + path, { client, headers });
    await response.body?.cancel();
    return response.status;
  };
  assertEquals([await status("/metrics"), await status("/metrics", "prometheus:wrong")], [401, 401]);
  assertEquals([await status("/metrics", "prometheus:secret"), await status("/api/tags")], [200, 200]);
  using stranger = Deno.createHttpClient({ caCerts: [SECOND.cert] });
  await assertRejects(() => fetch(url, { client: stranger }), TypeError);
}

/** Returns a folder with the files that the programs read. */
function foldered(): TemporaryFolder {
  const folder = new TemporaryFolder();
  folder.write("cert.pem", FIRST.cert);
  folder.write("key.pem", FIRST.key);
  folder.write("web.yml", WEB_CONFIG);
  return folder;
}

for (const server of ["deno", "node"]) {
  const name = `Prometheus scrapes every metric over TLS with a password, and stores exemplars (${server})`;
  testWith(["prometheus"], name, async () => {
    await using fake = await startBusyOllama();
    using gate = new Gate();
    fake.behaviour.script = async (request) => {
      if (request.headers(HELD).length > 0) await gate.opened;
    };
    using folder = foldered();
    const variables = {
      OLLAMA_HOST: fake.url,
      WEB_CONFIG_FILE: `${folder.path}/web.yml`,
      CLIENT_LABEL: "user-agent",
      SLO_FIRST_TOKEN: "1s",
      WEB_SERVER: server,
    };
    await using program = new Program({ variables });
    const port = await program.port();
    const url = `https://127.0.0.1:${port}`;
    await using prometheus = await Prometheus.start(folder, port);
    using client = Deno.createHttpClient({ caCerts: [FIRST.cert] });
    await checkGuard(url, client);
    const { held } = await makeTraffic(url, client);
    const declared = declarations();
    await prometheus.until(async () => {
      const known = new Set<string>(await prometheus.ask("label/__name__/values"));
      return declared.flatMap(seriesOf).filter((name) => !known.has(name)).map((name) => `There is no ${name}`);
    });
    gate.open();
    await (await held).text();
    await prometheus.until(() => exemplarFaults(prometheus));
    await checkTarget(prometheus, declared);
    await using health = new Program({ args: ["health", `--web.listen-address=:${port}`], variables });
    assertEquals([await health.exitCode(), health.output], [0, ["HTTP/1.1 401 Unauthorized"]]);
  });
}
