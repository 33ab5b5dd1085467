/** The Debian and RPM packages: contents by the tools of both, and the course of a Debian one by dpkg in a folder. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { buildPackages } from "../../tools/packages.ts";
import { PATIENCE_MS } from "../support/helpers.ts";
import { hasProgram, type NeededProgram, ROOT, run, testOrSkip, testWith } from "../support/deployment.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const SCRIPTS = ["deb/postinst", "deb/prerm", "deb/postrm", "rpm/post", "rpm/preun", "rpm/postun"];
const DATE = new Date("2026-01-02T03:04:05Z");
const SERVICE = "ollama-exporter.service";
const SOCKET = "ollama-exporter.socket";
/** The links that enable the units. */
const LINKS: Record<string, string> = {
  [SERVICE]: `etc/systemd/system/multi-user.target.wants/${SERVICE}`,
  [SOCKET]: `etc/systemd/system/sockets.target.wants/${SOCKET}`,
};
const SETTINGS_FILE = "etc/ollama-exporter/ollama-exporter.env";

testWith(["shellcheck"], "The packages' scripts are without what shellcheck finds", async () => {
  const args = SCRIPTS.map((name) => `deploy/packages/${name}`);
  assertEquals(await run("shellcheck", args), { code: 0, stdout: "", stderr: "" });
});

/** Files of both packages, and those of one. */
const FILES = [
  `/${SETTINGS_FILE}`,
  "/usr/bin/ollama-exporter",
  "/usr/lib/systemd/system/ollama-exporter.service",
  "/usr/lib/systemd/system/ollama-exporter.socket",
  "/usr/share/bash-completion/completions/ollama-exporter",
  "/usr/share/fish/vendor_completions.d/ollama-exporter.fish",
  "/usr/share/man/man1/ollama-exporter.1.gz",
];
const DEB_FILES = [
  "/usr/share/doc/ollama-exporter/NEWS.gz",
  "/usr/share/doc/ollama-exporter/copyright",
  "/usr/share/zsh/vendor-completions/_ollama-exporter",
];
const RPM_FILES = [
  "/usr/share/licenses/ollama-exporter/LICENSE",
  "/usr/share/zsh/site-functions/_ollama-exporter",
];

/** Packages of both architectures, the first in two versions; built by the first test. */
interface Built {
  readonly folder: string;
  readonly deb: string;
  readonly newerDeb: string;
  readonly armDeb: string;
  readonly rpm: string;
  readonly armRpm: string;
}
let built: Promise<Built> | undefined;

async function build(): Promise<Built> {
  const folder = await Deno.makeTempDir({ prefix: "packages_test_" });
  addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  // In place of the executable.
  const executable = `${folder}/executable`;
  await Deno.writeTextFile(executable, "#!/bin/sh\n");
  const options = { executable, output: folder, date: DATE };
  const [deb = "", rpm = ""] = await buildPackages({ ...options, arch: "amd64", version: "1.2.3" });
  const [newerDeb = ""] = await buildPackages({ ...options, arch: "amd64", version: "1.2.4" });
  const [armDeb = "", armRpm = ""] = await buildPackages({ ...options, arch: "arm64", version: "1.2.3" });
  return { folder, deb, newerDeb, armDeb, rpm, armRpm };
}

const reason = await whyNotBuilt();

/** Returns why nfpm cannot be built here, if so. */
async function whyNotBuilt(): Promise<string | undefined> {
  if (!hasProgram("go")) return "no go, Debian package golang-go";
  const { stdout } = await run("go", ["env", "GOVERSION"]);
  // Since 1.21, Go fetches the version that a module requires.
  return Number(/^go1\.(\d+)/.exec(stdout)?.[1]) >= 21 ? undefined : `${stdout.trim()} is older than go1.21`;
}

/** Defines a test of the packages, which needs programs. */
function testPackages(programs: readonly NeededProgram[], name: string, test: (built: Built) => Promise<void>): void {
  if (reason !== undefined) return testOrSkip(reason, name, () => {});
  testWith(programs, name, async () => await test(await (built ??= build())));
}

/** Output of a program, which has to succeed. */
async function output(command: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(command, args);
  assertEquals(code, 0, stderr + stdout);
  return stdout.trim();
}

testPackages(["dpkg-deb"], "The Debian packages have their files, names and metadata", async (built) => {
  for (const [path, arch] of [[built.deb, "amd64"], [built.armDeb, "arm64"]] as const) {
    assertEquals(path, `${built.folder}/ollama-exporter_1.2.3_${arch}.deb`);
    const fields = await output("dpkg-deb", "--field", path, "Package", "Version", "Architecture");
    assertEquals(fields, `Package: ollama-exporter\nVersion: 1.2.3\nArchitecture: ${arch}`);
    const contents = await output("dpkg-deb", "--contents", path);
    const files = contents.split("\n").filter((line) => line.startsWith("-"));
    assertEquals(files.map((line) => line.split(" ./")[1] ?? ""), [...FILES, ...DEB_FILES].map(relative).toSorted());
    assertEquals(files.filter((line) => !line.startsWith("-rw-r--r-- root/root")).length, 1);
    assertEquals(files.filter((line) => line.startsWith("-rwxr-xr-x root/root")).length, 1);
    assertEquals(contents.split("\n").filter((line) => !line.includes(" 2026-01-02 ")), [], "they all have DATE");
  }
});

testPackages(["rpm"], "The RPM packages have their files, names, metadata and scripts", async (built) => {
  for (const [path, arch] of [[built.rpm, "x86_64"], [built.armRpm, "aarch64"]] as const) {
    assertEquals(path, `${built.folder}/ollama-exporter-1.2.3-1.${arch}.rpm`);
    const query = (...args: string[]): Promise<string> => output("rpm", "--query", "--package", path, ...args);
    assertEquals(
      await query("--queryformat", "%{NAME} %{VERSION} %{RELEASE} %{ARCH} %{BUILDHOST}"),
      `ollama-exporter 1.2.3 1 ${arch} localhost`,
    );
    assertEquals(
      (await query("--queryformat", "[%{FILEMODES:perms} %{FILENAMES}\n]")).split("\n"),
      [
        "drwxr-xr-x /etc/ollama-exporter",
        ...[...FILES, ...RPM_FILES].map((file) =>
          `-rw${file === "/usr/bin/ollama-exporter" ? "xr-xr-x" : "-r--r--"} ${file}`
        ),
      ].toSorted((a, b) => relative(a.slice(11)) < relative(b.slice(11)) ? -1 : 1),
    );
    assertEquals(await query("--configfiles"), `/${SETTINGS_FILE}`);
    // %config(noreplace): 1 and 16 of rpmlib's file flags.
    assertStringIncludes(await query("--queryformat", "[%{FILENAMES} %{FILEFLAGS}\n]"), `/${SETTINGS_FILE} 17`);
    const scripts = await query("--scripts");
    for (const name of SCRIPTS.filter((name) => name.startsWith("rpm/"))) {
      assertStringIncludes(scripts, Deno.readTextFileSync(`${ROOT}/deploy/packages/${name}`).trim());
    }
  }
});

function relative(path: string): string {
  return path.replace(/^\//, "");
}

testPackages([], "The same executable and time give the same packages", async (built) => {
  using folder = new TemporaryFolder();
  // Only its content counts.
  const executable = folder.write("another name", Deno.readTextFileSync(`${built.folder}/executable`));
  const options = { executable, arch: "amd64", output: folder.path, date: DATE } as const;
  const again = await buildPackages({ ...options, version: "1.2.3" });
  for (const [index, path] of [built.deb, built.rpm].entries()) {
    assertEquals(await Deno.readFile(again[index] ?? ""), await Deno.readFile(path), path);
  }
  const later = await buildPackages({ ...options, version: "1.2.3", date: new Date(0) });
  assert((await Deno.readFile(later[0] ?? "")).length > 0);
  assert(await digest(later[0]) !== await digest(built.deb), "the time is in them");
});

async function digest(path = ""): Promise<string> {
  return String(new Uint8Array(await crypto.subtle.digest("SHA-256", await Deno.readFile(path))));
}

/** A folder in which dpkg installs packages. Their scripts run outside of it, with DPKG_ROOT, and start nothing. */
class DpkgRoot implements Disposable {
  readonly #folder = new TemporaryFolder();

  constructor() {
    for (const name of ["info", "updates", "triggers"]) {
      Deno.mkdirSync(`${this.#folder.path}/var/lib/dpkg/${name}`, { recursive: true });
    }
    // dpkg removes folders that its package leaves empty.
    for (const name of ["etc", "usr", "var/log/private/ollama-exporter"]) {
      Deno.mkdirSync(`${this.#folder.path}/${name}`, { recursive: true });
    }
    Deno.writeTextFileSync(`${this.#folder.path}/var/lib/dpkg/status`, "");
  }

  async dpkg(...args: string[]): Promise<void> {
    const forced = "--force-not-root,script-chrootless,depends,architecture";
    const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };
    const { code, stderr, stdout } = await run(
      "fakeroot",
      ["dpkg", `--root=${this.#folder.path}`, forced, "--log=/dev/null", ...args],
      { env, timeoutMs: 2 * PATIENCE_MS },
    );
    assertEquals(code, 0, stdout + stderr);
  }

  /** Path of a file of the root. */
  path(name: string): string {
    return `${this.#folder.path}/${name}`;
  }

  /** Whether there is a file or a link. */
  has(name: string): boolean {
    try {
      return Deno.lstatSync(this.path(name)) !== undefined;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    }
  }

  /** The units that are enabled, and those that are masked. */
  units(): Record<"enabled" | "masked", string[]> {
    const units = Object.keys(LINKS);
    return {
      enabled: units.filter((unit) => this.has(LINKS[unit] ?? "")),
      masked: units.filter((unit) => this.has(`etc/systemd/system/${unit}`)),
    };
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}

testPackages(["dpkg", "fakeroot"], "dpkg installs, upgrades, removes and purges the package", async (built) => {
  using root = new DpkgRoot();
  await root.dpkg("--install", built.deb);
  assertEquals(root.units(), { enabled: [SERVICE], masked: [] });
  const unit = Deno.readTextFileSync(root.path(`usr/lib/systemd/system/${SERVICE}`));
  assertStringIncludes(unit, "\nExecStart=/usr/bin/ollama-exporter\n");
  assert(root.has("usr/bin/ollama-exporter"));

  // The administrator prefers the socket, and edits the settings.
  Deno.writeTextFileSync(root.path(SETTINGS_FILE), "OLLAMA_HOST=http://gpu-1:11434\n");
  Deno.removeSync(root.path(LINKS[SERVICE] ?? ""));
  Deno.mkdirSync(root.path("etc/systemd/system/sockets.target.wants"));
  Deno.symlinkSync(`/usr/lib/systemd/system/${SOCKET}`, root.path(LINKS[SOCKET] ?? ""));
  const chosen = { enabled: [SOCKET], masked: [] };
  const edited = (): boolean => Deno.readTextFileSync(root.path(SETTINGS_FILE)).includes("gpu-1");
  await root.dpkg("--install", built.newerDeb);
  assertEquals([root.units(), edited()], [chosen, true]);

  await root.dpkg("--remove", "ollama-exporter");
  assertEquals([root.has("usr/bin/ollama-exporter"), edited()], [false, true]);
  assertEquals(root.units().masked, [SERVICE, SOCKET]);
  await root.dpkg("--install", built.newerDeb);
  assertEquals([root.units(), edited()], [chosen, true]);

  await root.dpkg("--purge", "ollama-exporter");
  assertEquals(root.units(), { enabled: [], masked: [] });
  for (const name of ["usr/bin/ollama-exporter", "etc/ollama-exporter", "var/log/private/ollama-exporter"]) {
    assert(!root.has(name), name);
  }
});

/** Number of installed versions afterwards, and the calls of systemctl where no systemd runs. */
const RPM_CALLS: [script: string, count: string, calls: string[]][] = [
  ["post", "1", [`--no-reload preset ${SERVICE}`]],
  ["post", "2", []],
  ["preun", "1", []],
  ["preun", "0", [SOCKET, SERVICE].map((unit) => `--no-reload disable ${unit}`)],
  ["postun", "1", []],
  ["postun", "0", []],
];

testWith(["sh"], "The RPM packages' scripts enable what presets say, and disable on removal only", async () => {
  for (const [script, count, expected] of RPM_CALLS) {
    using folder = new TemporaryFolder();
    Deno.chmodSync(folder.write("systemctl", `#!/bin/sh\necho "$@" >>"${folder.path}/calls"\n`), 0o755);
    folder.write("calls", "");
    const env = { PATH: `${folder.path}:/usr/bin:/bin` };
    assertEquals((await run("sh", [`deploy/packages/rpm/${script}`, count], { env })).code, 0);
    const calls = Deno.readTextFileSync(`${folder.path}/calls`).split("\n").slice(0, -1)
      // Where systemd runs, it is told.
      .map((call) => call.replace("disable --now", "disable"))
      .filter((call) => !/^(daemon-reload|try-restart \S+)$/.test(call));
    assertEquals(calls, expected, `${script} ${count}`);
  }
});
