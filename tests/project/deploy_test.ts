/** Compose, Kubernetes, workflows and releases: schemas, and consistency with one another. */

import { assert, assertEquals, assertFalse, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { parse } from "@std/yaml/parse";
import denoJson from "../../deno.json" with { type: "json" };
import { releaseNotes } from "../../tools/release_notes.ts";
import { isCi, ROOT, run } from "../support/deployment.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const DOWNLOAD_MS = 120_000;

/** Any YAML; missing members are `undefined`. */
// deno-lint-ignore no-explicit-any -- each member would need a type that says nothing.
type Yaml = any;

function readYaml(path: string): Yaml {
  return parse(Deno.readTextFileSync(`${ROOT}/${path}`));
}

function readManifests(path: string): Yaml[] {
  return Deno.readTextFileSync(`${ROOT}/${path}`).split(/^---$/m).map((text) => parse(text));
}

/** Runs the linter in a folder. The first run downloads its packages. */
async function lint(cwd: string): Promise<{ code: number; stdout: string; stderr: string }> {
  const flags = ["--no-config", `--lock=${ROOT}/tools/lint_deploy.lock`, "--frozen", "--allow-read", "--allow-env"];
  const args = ["run", "--quiet", ...flags, `${ROOT}/tools/lint_deploy.ts`];
  return await run(Deno.execPath(), args, { cwd, timeoutMs: DOWNLOAD_MS });
}

const linted = await lint(ROOT);
const isThere = !/error sending request|dns error|Could not find npm package/.test(linted.stderr);

Deno.test({
  name: `Workflows, compose files and manifests match their schemas${
    isThere ? "" : " (skipped: npm cannot be reached)"
  }`,
  ignore: !isThere && !isCi(),
  fn: async () => {
    assertMatch(linted.stdout, /^\d+ files, 0 findings\n$/, linted.stdout + linted.stderr);
    using folder = new TemporaryFolder();
    const broken: [path: string, right: string, wrong: string, finding: RegExp][] = [
      [".github/workflows/release.yml", "needs: test", "needs: tests", /job "executable" needs job "tests"/],
      [
        "deploy/compose/compose.yaml",
        "restart: unless-stopped",
        "restrat: unless-stopped",
        /services\/ollama.* must NOT have additional properties/,
      ],
      ["deploy/kubernetes/sidecar.yaml", "containerPort: 8000", 'containerPort: "8000"', /containerPort/],
      ["deploy/kubernetes/podmonitor.yaml", "interval: 15s", "interval: 15", /interval/],
    ];
    for (const [path, right, wrong] of broken) {
      Deno.mkdirSync(`${folder.path}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
      folder.write(path, Deno.readTextFileSync(`${ROOT}/${path}`).replace(right, wrong));
    }
    const { code, stdout } = await lint(folder.path);
    assertEquals(code, 1);
    for (const [path, , , finding] of broken) {
      assertMatch(stdout.split("\n").filter((line) => line.includes(path)).join("\n"), finding);
    }
  },
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
    assertEquals(rule_files, ["recording.rules.yml", "alerts.rules.yml"]);
    for (const file of rule_files) assert(mounted.includes(`/etc/prometheus/${file}`));
  }
});

Deno.test("Kubernetes pods have probes and limits, do not run as root, and match Service and PodMonitor", () => {
  const [monitor]: Yaml[] = readManifests("deploy/kubernetes/podmonitor.yaml");
  for (const path of ["deploy/kubernetes/sidecar.yaml", "deploy/kubernetes/standalone.yaml"]) {
    const manifests = readManifests(path);
    const service = manifests.find(({ kind }) => kind === "Service");
    const { template, selector } = manifests.find(({ kind }) => kind === "Deployment").spec;
    const { labels } = template.metadata;
    for (const wanted of [service.spec.selector, selector.matchLabels, monitor.spec.selector.matchLabels]) {
      assertEquals({ ...labels, ...wanted }, labels, path);
    }
    const exporter: Yaml = template.spec.containers.find(({ name }: Yaml) => name === "exporter");
    assertMatch(exporter.image, new RegExp(`^ghcr\\.io/OWNER/ollama-exporter:${denoJson.version}$`));
    const [{ name, containerPort }] = exporter.ports;
    assertEquals([name, containerPort], [service.spec.ports[0].targetPort, 8000]);
    assertEquals(name, monitor.spec.podMetricsEndpoints[0].port);
    assertMatch(exporter.livenessProbe.httpGet.path, /^\/-\/healthy$/);
    assertMatch(exporter.readinessProbe.httpGet.path, /^\/-\/(healthy|ready)$/);
    assert(exporter.resources.requests.memory && exporter.resources.limits.memory);
    const context = { ...template.spec.securityContext, ...exporter.securityContext };
    assert(context.runAsNonRoot && context.runAsUser > 0 && context.readOnlyRootFilesystem);
    assertEquals([context.allowPrivilegeEscalation, context.capabilities.drop], [false, ["ALL"]]);
    assertEquals(template.spec.automountServiceAccountToken, false);
  }
});

Deno.test("release.yml builds an executable for each target of deno compile", () => {
  const { jobs }: Yaml = readYaml(".github/workflows/release.yml");
  assertEquals(jobs.executable.strategy.matrix.target.toSorted(), [
    "aarch64-apple-darwin",
    "aarch64-unknown-linux-gnu",
    "x86_64-apple-darwin",
    "x86_64-pc-windows-msvc",
    "x86_64-unknown-linux-gnu",
  ]);
  const steps: Yaml[] = Object.values<Yaml>(jobs).flatMap((job) => job.steps ?? []);
  const attested = steps.filter(({ uses }) => uses?.startsWith("actions/attest-build-provenance@"));
  assertEquals(attested.length, 2, "the executables and the image");
  assertStringIncludes(JSON.stringify(jobs.image), '"linux/amd64,linux/arm64"');
  assertFalse(JSON.stringify(jobs).includes("pull_request_target"));
});

Deno.test("releaseNotes() returns the changelog of a version, and fails if there is none", () => {
  const changelog =
    "# Changelog\n\n## Unreleased\n\n- new\n\n## 1.2.0 / 2026-11-22\n\n- [BUGFIX] b\n\n## 1.1.0\n\n## 1.0.0\n\n- a\n";
  assertEquals(releaseNotes(changelog, "1.2.0"), "- [BUGFIX] b");
  assertEquals(releaseNotes(changelog, "1.0.0"), "- a");
  for (const version of ["1.1.0", "1.2", "2.0.0", ""]) {
    assertThrows(() => releaseNotes(changelog, version), Error, "no section");
  }
  assert(Deno.readTextFileSync(`${ROOT}/CHANGELOG.md`).includes("\n## Unreleased\n"));
});
