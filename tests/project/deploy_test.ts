/** Compose: its schema, and consistency with Prometheus and Grafana. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { parse } from "@std/yaml/parse";
import denoJson from "../../deno.json" with { type: "json" };
import { ROOT, run, testOrSkip } from "../support/deployment.ts";
import { RULE_FILES } from "../support/prometheus.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const DOWNLOAD_MS = 120_000;

/** Any YAML; missing members are `undefined`. */
// deno-lint-ignore no-explicit-any -- each member would need a type that says nothing.
type Yaml = any;

function readYaml(path: string): Yaml {
  return parse(Deno.readTextFileSync(`${ROOT}/${path}`));
}

/** Runs the linter in a folder. The first run downloads its package. */
async function lint(cwd: string): Promise<{ code: number; stdout: string; stderr: string }> {
  const flags = ["--no-config", `--lock=${ROOT}/tools/lint_compose.lock`, "--frozen", "--allow-read", "--allow-env"];
  const args = ["run", "--quiet", ...flags, `${ROOT}/tools/lint_compose.ts`];
  return await run(Deno.execPath(), args, { cwd, timeoutMs: DOWNLOAD_MS });
}

const linted = await lint(ROOT);
const isThere = !/error sending request|dns error|Could not find npm package/.test(linted.stderr);

testOrSkip(isThere ? undefined : "npm cannot be reached", "Compose files match the schema of Compose", async () => {
  assertEquals(linted.stdout, "2 files, 0 findings\n", linted.stderr);
  using folder = new TemporaryFolder();
  const path = "deploy/compose/compose.yaml";
  Deno.mkdirSync(`${folder.path}/deploy/compose`, { recursive: true });
  folder.write(path, Deno.readTextFileSync(`${ROOT}/${path}`).replace("restart:", "restrat:"));
  const { code, stdout } = await lint(folder.path);
  assertEquals(code, 1);
  assertMatch(stdout, /compose\.yaml:\d+: .*services\/ollama.* must NOT have additional properties/);
});

Deno.test("Compose services are pinned, monitored, persistent and connected", () => {
  const { services, volumes }: Yaml = readYaml("deploy/compose/compose.yaml");
  assertEquals(Object.keys(services).sort(), ["exporter", "grafana", "ollama", "prometheus"]);
  for (const [name, service] of Object.entries<Yaml>(services)) {
    assertMatch(service.image, /^[\w./-]+:v?\d+\.\d+\.\d+$/, name);
    assert(Array.isArray(service.healthcheck.test), name);
    for (const volume of service.volumes ?? []) {
      const [source] = volume.split(":");
      if (source.startsWith(".")) Deno.statSync(`${ROOT}/deploy/compose/${source}`);
      else assert(source in volumes, `${name}: the volume ${source} is declared`);
    }
    for (const port of service.ports ?? []) assertMatch(port, /^127\.0\.0\.1:/, `${name} is open to this machine only`);
  }
  assertEquals(services.exporter.image, `ollama-exporter:${denoJson.version}`);
  assertEquals(services.exporter.environment.OLLAMA_HOST, "http://ollama:11434");
  assertEquals(services.ollama.ports, undefined, "Ollama is reached through the exporter only");

  const [{ static_configs: [{ targets }] }] = readYaml("deploy/compose/prometheus.yml").scrape_configs;
  assertEquals(targets, ["exporter:8000"]);
  const [datasource] = readYaml("deploy/compose/grafana/datasources.yaml").datasources;
  assertEquals([datasource.type, datasource.url], ["prometheus", "http://prometheus:9090"]);
  const [provider] = readYaml("deploy/compose/grafana/dashboards.yaml").providers;
  const mounts: string[] = services.grafana.volumes;
  assert(mounts.includes(`../grafana/ollama.json:${provider.options.path}/ollama.json:ro`));
});

Deno.test("Prometheus in Compose reads the mounted rules", () => {
  const { services }: Yaml = readYaml("deploy/compose/compose.yaml");
  const mounted: string[] = services.prometheus.volumes.map((volume: string) => volume.split(":")[1]);
  for (const config of ["deploy/compose/prometheus.yml", "deploy/prometheus/prometheus.yml"]) {
    const { rule_files }: { rule_files: string[] } = readYaml(config);
    assertEquals(rule_files, RULE_FILES);
    for (const file of rule_files) assert(mounted.includes(`/etc/prometheus/${file}`));
  }
});
