/** Kubernetes: the manifests, as kustomize builds them. */

import { assert, assertEquals, assertLessOrEqual, assertMatch, assertStringIncludes } from "@std/assert";
import denoJson from "../../deno.json" with { type: "json" };
import { RSS_LIMITS_BYTES } from "../../bench/soak_cases.ts";
import { ROOT, run } from "../support/deployment.ts";
import { type Manifest, manifestOf, parseManifests, problemsOf } from "../support/manifests.ts";
import { testWithPinned } from "../support/pinned.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const FOLDER = `${ROOT}/deploy/kubernetes`;
const MONITORS = ["podmonitor.yaml", "servicemonitor.yaml"].map((name) => Deno.readTextFileSync(`${FOLDER}/${name}`));
const MEBIBYTE = 1024 * 1024;

/** What memory limits must hold: 2,000 open streams and held request bodies, at once. */
const MEMORY_MIB = (RSS_LIMITS_BYTES.OPEN_STREAMS_RSS_LIMIT + RSS_LIMITS_BYTES.HELD_UPLOADS_RSS_LIMIT) / MEBIBYTE;

await testWithPinned("kustomize", "Manifests match the schemas of Kubernetes and the operator", async (kustomize) => {
  for (const folder of ["sidecar", "standalone"]) {
    const { code, stdout, stderr } = await run(kustomize, ["build", `${FOLDER}/${folder}`]);
    assertEquals({ code, stderr }, { code: 0, stderr: "" });
    assertEquals(await problemsOf([stdout, ...MONITORS].join("\n---\n")), "");
    assertKinds(parseManifests(stdout));
    const broken = stdout.replace("containers:", "hostNetwrok: true\n      containers:") +
      `---\n${MONITORS[0]}`.replace("port:", "prot:");
    const problems = await problemsOf(broken);
    assertStringIncludes(problems, "'hostNetwrok' was unexpected");
    assertStringIncludes(problems, 'unknown field "prot"');
  }
});

function assertKinds(manifests: Manifest[]): void {
  const service = manifestOf(manifests, "Service");
  const { template, selector } = manifestOf(manifests, "Deployment").spec;
  const { labels } = template.metadata;
  const policy = manifestOf(manifests, "NetworkPolicy").spec;
  const [pods, services] = MONITORS.map((text) => parseManifests(text)[0].spec);
  for (const { matchLabels } of [selector, policy.podSelector, pods.selector, { matchLabels: service.spec.selector }]) {
    assertEquals({ ...labels, ...matchLabels }, labels);
  }
  assertEquals({ ...service.metadata.labels, ...services.selector.matchLabels }, service.metadata.labels);
  for (const manifest of [...manifests, template]) {
    for (const key of Object.keys(manifest.metadata.labels)) assertMatch(key, /^app\.kubernetes\.io\//);
  }
  const exporter = template.spec.containers.find(({ name }: Manifest) => name === "exporter");
  assertEquals(exporter.image, `ollama-exporter:${denoJson.version}`);
  const [{ name, containerPort }] = exporter.ports;
  assertEquals(containerPort, 8000);
  const [{ name: port, targetPort }] = service.spec.ports;
  assertEquals([targetPort, pods.podMetricsEndpoints[0].port, policy.ingress[0].ports[0].port], [name, name, name]);
  assertEquals(services.endpoints[0].port, port);
  for (const probe of [exporter.livenessProbe, exporter.readinessProbe]) {
    assertEquals(probe.httpGet, { path: "/-/healthy", port: name });
  }
  assertIsolated(template.spec);
  assertLessOrEqual(MEMORY_MIB, parseInt(exporter.resources.limits.memory));
}

function assertIsolated({ automountServiceAccountToken, securityContext, containers }: Manifest): void {
  assertEquals(automountServiceAccountToken, false);
  assertEquals(securityContext.seccompProfile.type, "RuntimeDefault");
  for (const { name, securityContext: context } of containers) {
    assertEquals([context.allowPrivilegeEscalation, context.capabilities], [false, { drop: ["ALL"] }], name);
    if (name === "exporter") assert(context.runAsNonRoot && context.runAsUser > 0 && context.readOnlyRootFilesystem);
  }
}

await testWithPinned("kustomize", "kustomize replaces the image in both", async (kustomize) => {
  using folder = new TemporaryFolder();
  const { code } = await run("cp", ["--recursive", `${FOLDER}/.`, folder.path]);
  assertEquals(code, 0);
  for (const name of ["sidecar", "standalone"]) {
    const path = `${name}/kustomization.yaml`;
    const text = Deno.readTextFileSync(`${FOLDER}/${path}`);
    folder.write(path, text.replace("newTag:", "newName: registry.example/x\n    newTag:"));
    const { stdout } = await run(kustomize, ["build", `${folder.path}/${name}`]);
    assertStringIncludes(stdout, `image: registry.example/x:${denoJson.version}\n`);
  }
});
