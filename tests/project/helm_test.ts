/** The Helm chart: lint, and rendered manifests by the values that matter. */

import { assertEquals, assertLessOrEqual, assertStringIncludes } from "@std/assert";
import denoJson from "../../deno.json" with { type: "json" };
import { SETTINGS } from "../../lib/settings/settings.ts";
import { ROOT, run } from "../support/deployment.ts";
import { type Manifest, manifestOf, parseManifests, problemsOf } from "../support/manifests.ts";
import { testWithPinned } from "../support/pinned.ts";

const CHART = `${ROOT}/deploy/helm/ollama-exporter`;
/** Versions of Kubernetes whose API the templates must fit: the oldest that the chart accepts, and a recent one. */
const KUBERNETES = ["1.25.0", "1.36.0"];

/** Settings that have values of their own, by the value. */
const OWN_VALUES: Record<string, string> = {
  OLLAMA_HOST: "ollamaHost",
  LISTEN_ADDRESS: "the image's",
  SYSTEMD_SOCKET: "none: there is no systemd in a pod",
  METRICS_LISTEN_ADDRESS: "metrics.port",
  METRICS_PATH: "metrics.path",
  WEB_CONFIG_FILE: "webConfig",
};

/** Renders the chart with values, in the form of `--set`. */
async function render(helm: string, values: readonly string[], version = KUBERNETES[0] ?? ""): Promise<string> {
  const args = ["template", "test", CHART, "--kube-version", version, ...values.map((value) => `--set=${value}`)];
  const { code, stdout, stderr } = await run(helm, args);
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
  return stdout;
}

function podOf(manifests: Manifest[]): Manifest {
  return manifestOf(manifests, "Deployment").spec.template.spec;
}

const MONITORED = ["serviceMonitor.enabled=true", "networkPolicy.enabled=true"];
/** A file that a setting names. */
const WITH_CA = [
  "settings.OLLAMA_CA_FILE=/etc/ca/ca.crt",
  "volumes[0].name=ca",
  "volumes[0].configMap.name=ca",
  "volumeMounts[0].name=ca",
  "volumeMounts[0].mountPath=/etc/ca",
];
const GUARDED = [...MONITORED, "metrics.port=9000", "webConfig.existingSecret=web", "webConfig.tls=true"];

await testWithPinned("helm", "The chart has no lint, and the version of the program", async (helm) => {
  const { code, stdout, stderr } = await run(helm, ["lint", "--strict", "--quiet", CHART]);
  assertEquals({ code, stdout, stderr }, { code: 0, stdout: "", stderr: "" });
  const [chart] = parseManifests(Deno.readTextFileSync(`${CHART}/Chart.yaml`));
  assertEquals([chart.version, chart.appVersion], [denoJson.version, denoJson.version]);
});

await testWithPinned("helm", "The chart renders manifests that match their schemas", async (helm) => {
  for (const version of KUBERNETES) {
    for (
      const values of [[], MONITORED, GUARDED, WITH_CA, [...GUARDED, ...WITH_CA], [
        "settings.MODEL_LABEL_LIMIT=50",
        "service.type=NodePort",
      ]]
    ) {
      assertEquals(await problemsOf(await render(helm, values, version)), "", values.join());
    }
  }
});

await testWithPinned("helm", "The chart by default has one port, an unprivileged pod, and no monitor", async (helm) => {
  const manifests = parseManifests(await render(helm, []));
  assertEquals(manifests.map(({ kind }) => kind), ["Service", "Deployment"]);
  const { containers: [exporter], securityContext } = podOf(manifests);
  assertEquals(exporter.image, `ollama-exporter:${denoJson.version}`);
  assertEquals(securityContext.runAsNonRoot, true);
  assertEquals(exporter.securityContext, {
    allowPrivilegeEscalation: false,
    capabilities: { drop: ["ALL"] },
    readOnlyRootFilesystem: true,
  });
  for (const probe of [exporter.livenessProbe, exporter.readinessProbe]) {
    assertEquals(probe.httpGet, { path: "/-/healthy", port: "http" });
  }
  const [sidecar] = parseManifests(Deno.readTextFileSync(`${ROOT}/deploy/kubernetes/standalone/exporter.yaml`))
    .filter(({ kind }) => kind === "Deployment").map(({ spec }) => spec.template.spec.containers[0]);
  assertEquals(exporter.resources, sidecar.resources);
});

await testWithPinned(
  "helm",
  "The chart with a web config probes without a password, and scrapes over TLS",
  async (helm) => {
    const manifests = parseManifests(await render(helm, GUARDED));
    const { containers: [exporter], volumes } = podOf(manifests);
    assertEquals(exporter.livenessProbe.exec.command, ["/usr/local/bin/ollama-exporter", "health"]);
    assertEquals(exporter.readinessProbe.tcpSocket, { port: "metrics" });
    assertEquals(volumes[0].secret, { secretName: "web", defaultMode: 0o440 });
    const env = exporter.env.map(({ name, value }: Manifest) => `${name}=${value}`);
    assertEquals(env.filter((variable: string) => /^(WEB|METRICS)/.test(variable)), [
      "METRICS_PATH=/metrics",
      "METRICS_LISTEN_ADDRESS=:9000",
      "WEB_CONFIG_FILE=/etc/ollama-exporter/web.yml",
    ]);
    const [endpoint] = manifestOf(manifests, "ServiceMonitor").spec.endpoints;
    assertEquals([endpoint.port, endpoint.scheme], ["metrics", "https"]);
    const ports = manifestOf(manifests, "Service").spec.ports.map(({ name }: Manifest) => name);
    assertEquals(ports, ["http", "metrics"]);
    const [clients, prometheus] = manifestOf(manifests, "NetworkPolicy").spec.ingress;
    assertEquals([clients.ports, prometheus.ports], [[{ port: "http" }], [{ port: "metrics" }]]);
  },
);

await testWithPinned("helm", "The chart names its objects by the release, or as its values say", async (helm) => {
  const namesOf = async (...values: string[]): Promise<Manifest[]> => {
    const manifests = parseManifests(await render(helm, [...MONITORED, ...values]));
    const { selector, template } = manifestOf(manifests, "Deployment").spec;
    assertEquals(template.metadata.labels["app.kubernetes.io/name"], selector.matchLabels["app.kubernetes.io/name"]);
    return [...new Set(manifests.map(({ metadata }) => metadata.name)), selector.matchLabels["app.kubernetes.io/name"]];
  };
  assertEquals(await namesOf(), ["test-ollama-exporter", "ollama-exporter"]);
  assertEquals(await namesOf("nameOverride=exporter"), ["test-exporter", "exporter"]);
  assertEquals(await namesOf("nameOverride=test"), ["test", "test"]);
  assertEquals(await namesOf("fullnameOverride=ollama"), ["ollama", "ollama-exporter"]);
});

await testWithPinned("helm", "The chart's NetworkPolicy opens the port of ollamaHost", async (helm) => {
  const cases: [value: string, port: number][] = [
    ["ollamaHost=http://ollama:11434", 11434],
    ["ollamaHost=https://ollama.example/base:8/", 443],
    ["ollamaHost=HTTP://ollama", 80],
    ["ollamaHost=ollama:8080", 8080],
    ["ollamaHost=[fd00::1]", 11434],
    ["ollamaHost=https://[fd00::1]:8443/base", 8443],
    ["networkPolicy.ollamaPort=1234", 1234],
  ];
  for (const [value, port] of cases) {
    const policy = manifestOf(parseManifests(await render(helm, [...MONITORED, value])), "NetworkPolicy");
    assertEquals(policy.spec.egress[1].ports, [{ port }], value);
  }
});

await testWithPinned("helm", "The chart knows every setting, and rejects others", async (helm) => {
  const schema = JSON.parse(Deno.readTextFileSync(`${CHART}/values.schema.json`));
  const variables = Object.values(SETTINGS).map(({ variable }) => variable);
  const known = [...Object.keys(schema.properties.settings.properties), ...Object.keys(OWN_VALUES)];
  assertEquals(known.sort(), variables.toSorted());
  const args = ["template", "test", CHART, "--kube-version", "1.36.0"];
  const cases: [value: string, message: string][] = [
    ["settings.LOG_LEVLE=DEBUG", "additional properties 'LOG_LEVLE' not allowed"],
    ["metrics.port=8000", "'not' failed"],
    ["image.digest=sha256:1", "does not match pattern"],
  ];
  for (const [value, message] of cases) {
    const { code, stderr } = await run(helm, [...args, `--set=${value}`]);
    assertLessOrEqual(1, code);
    assertStringIncludes(stderr, message);
  }
});
