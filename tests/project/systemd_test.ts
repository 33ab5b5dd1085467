/** The service: the unit by systemd's own tools, and the installer below a folder of its own. */

import { assert, assertEquals, assertFalse, assertMatch, assertStringIncludes } from "@std/assert";
import { Signals } from "../../lib/listen/signals.ts";
import { SETTINGS } from "../../lib/settings/settings.ts";
import { writeExtras } from "../../tools/extras.ts";
import { type Ran, ROOT, run, testWith } from "../support/deployment.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const FOLDER = `${ROOT}/deploy/systemd`;
const UNIT = `${FOLDER}/ollama-exporter.service`;
const SOCKET = `${FOLDER}/ollama-exporter.socket`;
const ENVIRONMENT = `${FOLDER}/ollama-exporter.env`;
const INSTALL = `${FOLDER}/install.sh`;

/** The exposure that `systemd-analyze security` may find, times ten: 1.1 when this was written, by systemd 252. */
const EXPOSURE_LIMIT = 15;

testWith(["systemd-analyze"], "The units are what systemd accepts", async () => {
  using folder = new TemporaryFolder();
  // Neither the executable nor its man page need be installed where the test runs.
  const here = (text: string): string =>
    text.replace(/^ExecStart=\S+/m, "ExecStart=/bin/true").replace(/^Documentation=.*\n/m, "");
  const unit = here(Deno.readTextFileSync(UNIT));
  const path = folder.write("ollama-exporter.service", unit);
  const socket = folder.write("ollama-exporter.socket", here(Deno.readTextFileSync(SOCKET)));
  assertEquals(await run("systemd-analyze", ["verify", path, socket]), { code: 0, stdout: "", stderr: "" });
  const broken = folder.write("broken.service", unit.replace("ProtectSystem=strict", "ProtectSystem=strct"));
  assertStringIncludes((await run("systemd-analyze", ["verify", broken])).stderr, "strct");
});

Deno.test("The unit reloads with the signal that reloads the program", () => {
  const [, signal] = /^ExecReload=\/bin\/kill -(\w+) \$MAINPID$/m.exec(Deno.readTextFileSync(UNIT)) ?? [];
  const signals = new Signals({ os: "linux", hasTerminal: false });
  assertEquals(signals.receive(`SIG${signal}` as Deno.Signal, 0), "reload");
});

testWith(["systemd-analyze"], "The unit leaves the service hardly anything that it could do", async () => {
  using folder = new TemporaryFolder();
  const args = ["security", "--offline=true", `--threshold=${EXPOSURE_LIMIT}`];
  const { code, stdout } = await run("systemd-analyze", [...args, UNIT]);
  assertEquals(code, 0, stdout);
  const weaker = Deno.readTextFileSync(UNIT).replace(/^SystemCallFilter=.*\n|^CapabilityBoundingSet=\n/gm, "");
  const path = folder.write("ollama-exporter.service", weaker);
  assert((await run("systemd-analyze", [...args, path])).code !== 0, "without its filters it does not pass");
});

testWith(["shellcheck"], "The installer is without what shellcheck finds", async () => {
  assertEquals(await run("shellcheck", [INSTALL]), { code: 0, stdout: "", stderr: "" });
});

Deno.test("The unit's settings are ones that there are, with the defaults of the exporter", () => {
  const text = Deno.readTextFileSync(ENVIRONMENT);
  const defaults = new Map(Object.values(SETTINGS).map((setting) => [setting.variable, setting.default]));
  const used = [...text.matchAll(/^#?([A-Z_]+)=/gm)].map(([, name]) => name ?? "");
  assert(used.includes("OLLAMA_HOST") && used.includes("LISTEN_ADDRESS"));
  for (const name of used) assert(defaults.has(name), `${name} is no setting`);
  // It stops a second or two after the exporter has broken off what was left.
  const grace = Number(/^TimeoutStopSec=(\d+)s$/m.exec(Deno.readTextFileSync(UNIT))?.[1]);
  assert(grace > parseInt(defaults.get("SHUTDOWN_TIMEOUT") ?? ""));
});

Deno.test("The socket is where the settings of the service listen, and both begin with this machine only", () => {
  const setting = SETTINGS.listenAddress.variable;
  const [, address] = new RegExp(`^${setting}=(.*)$`, "m").exec(Deno.readTextFileSync(ENVIRONMENT)) ?? [];
  const [, stream] = /^ListenStream=(.*)$/m.exec(Deno.readTextFileSync(SOCKET)) ?? [];
  assertEquals([address, stream], ["127.0.0.1:8000", "127.0.0.1:8000"]);
});

/** The installer is for machines with systemd, and uses what they have. */
function testOnLinux(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore: Deno.build.os !== "linux", fn });
}

/** A root to install below, a systemctl that only writes down what it is told, and a download that is an executable. */
class Host implements Disposable {
  readonly #folder = new TemporaryFolder();
  readonly root = `${this.#folder.path}/root`;
  readonly executable: string;
  readonly sums: string;

  constructor() {
    Deno.mkdirSync(`${this.#folder.path}/bin`);
    this.#program("bin/systemctl", `echo "$@" >> ${this.#folder.path}/systemctl.log`);
    this.executable = this.#program("ollama-exporter", "echo ollama-exporter 9.9.9");
    this.sums = this.#folder.write("SHA256SUMS", "");
  }

  #program(name: string, command: string): string {
    const path = this.#folder.write(name, `#!/bin/sh\n${command}\n`);
    Deno.chmodSync(path, 0o755);
    return path;
  }

  /** Runs a shell command in the folder of the download. */
  async shell(command: string): Promise<string> {
    const { code, stdout, stderr } = await run("sh", ["-c", command], { cwd: this.#folder.path });
    assertEquals(code, 0, stderr);
    return stdout.trim();
  }

  install(...args: string[]): Promise<Ran> {
    return this.installFrom(INSTALL, ...args);
  }

  /** Runs a script in the folder of the download. */
  installFrom(script: string, ...args: string[]): Promise<Ran> {
    const env = { PATH: `${this.#folder.path}/bin:${Deno.env.get("PATH")}` };
    return run("sh", [script, ...args, "--root", this.root], { env, cwd: this.#folder.path });
  }

  /** Files below the root. */
  files(): string[] {
    const { stdout } = new Deno.Command("find", { args: [this.root, "-type", "f", "-printf", "%P %m\n"] }).outputSync();
    return new TextDecoder().decode(stdout).trim().split("\n").filter((line) => line !== "").sort();
  }

  read(path: string): string {
    return Deno.readTextFileSync(`${this.root}/${path}`);
  }

  systemctlCalls(): string[] {
    return Deno.readTextFileSync(`${this.#folder.path}/systemctl.log`).trim().split("\n");
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}

const INSTALLED = [
  "etc/ollama-exporter/ollama-exporter.env 644",
  "etc/systemd/system/ollama-exporter.service 644",
  "etc/systemd/system/ollama-exporter.socket 644",
  "usr/local/bin/ollama-exporter 755",
];

testOnLinux("install.sh installs what has the right checksum, and removes it again", async () => {
  using host = new Host();
  await host.shell("sha256sum ollama-exporter > SHA256SUMS");
  const installed = await host.install(host.executable);
  assertEquals(installed.stderr, "");
  assertStringIncludes(installed.stdout, "Installed ollama-exporter 9.9.9");
  assertEquals(host.files(), INSTALLED);
  assertEquals(host.read("etc/systemd/system/ollama-exporter.service"), Deno.readTextFileSync(UNIT));
  assertEquals(host.systemctlCalls(), [`--root=${host.root} enable ollama-exporter.service`]);

  assertEquals((await host.install("--remove")).code, 0);
  assertEquals(host.files(), ["etc/ollama-exporter/ollama-exporter.env 644"]);
  assertEquals((await host.install("--remove", "--purge")).code, 0);
  assertEquals(host.files(), []);
});

testOnLinux(
  "install.sh installs the executable, man page and completions of its own archive without a checksum",
  async () => {
    using host = new Host();
    const archive = await host.shell("mkdir archive && mv ollama-exporter archive && cd archive && pwd");
    await writeExtras(archive, new Date(0));
    await host.shell(`cp -r ${FOLDER} archive`);
    const installed = [
      ...INSTALLED,
      "usr/local/share/bash-completion/completions/ollama-exporter 644",
      "usr/local/share/fish/vendor_completions.d/ollama-exporter.fish 644",
      "usr/local/share/man/man1/ollama-exporter.1 644",
      "usr/local/share/zsh/site-functions/_ollama-exporter 644",
    ];
    for (const args of [[], ["archive/ollama-exporter"], ["archive/systemd/../ollama-exporter"]]) {
      const { code, stderr } = await host.installFrom("archive/systemd/install.sh", ...args);
      assertEquals([code, stderr], [0, ""], args.join(" "));
      assertEquals(host.files(), installed);
      assertEquals((await host.installFrom("archive/systemd/install.sh", "--remove", "--purge")).code, 0);
      assertEquals(host.files(), []);
    }
    const wrong = await host.installFrom("archive/systemd/install.sh", "--sha256", "0".repeat(64));
    assertStringIncludes(wrong.stderr, "checksum mismatch");
    await host.shell("cp archive/ollama-exporter .");
    assertStringIncludes(
      (await host.installFrom("archive/systemd/install.sh", "ollama-exporter")).stderr,
      "SHA256SUMS",
    );
  },
);

testOnLinux("install.sh executes nothing in the temporary folder, and leaves nothing that does not run", async () => {
  using host = new Host();
  const sha256 = await host.shell(`echo 'echo "$0"' >> ollama-exporter && sha256sum ollama-exporter | cut -d ' ' -f 1`);
  const { stdout } = await host.install(host.executable, "--sha256", sha256);
  assertStringIncludes(stdout, `${host.root}/usr/local/bin/ollama-exporter.new\n`);
  const files = host.files();
  const broken = await host.shell("echo exit 1 >> ollama-exporter && sha256sum ollama-exporter | cut -d ' ' -f 1");
  const { code, stderr } = await host.install(host.executable, "--sha256", broken);
  assertEquals([code, stderr], [1, "install.sh: ollama-exporter does not run on this system\n"]);
  assertEquals(host.files(), files);
});

testOnLinux("install.sh leaves settings alone that are there", async () => {
  using host = new Host();
  const sha256 = await host.shell("sha256sum ollama-exporter | cut -d ' ' -f 1");
  await host.install(host.executable, "--sha256", sha256);
  const settings = `${host.root}/etc/ollama-exporter/ollama-exporter.env`;
  Deno.writeTextFileSync(settings, "OLLAMA_HOST=http://gpu-1:11434\n");
  assertEquals((await host.install(host.executable, "--sha256", sha256)).code, 0);
  assertEquals(Deno.readTextFileSync(settings), "OLLAMA_HOST=http://gpu-1:11434\n");
});

testOnLinux("install.sh takes the archive of a release from where it is downloaded", async () => {
  using host = new Host();
  const name = "ollama-exporter-9.9.9-x86_64-unknown-linux-gnu";
  await host.shell(`mkdir ${name} && mv ollama-exporter ${name} && tar -czf ${name}.tar.gz ${name}`);
  await host.shell(`sha256sum ${name}.tar.gz > SHA256SUMS`);
  const asked: string[] = [];
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const file = new URL(request.url).pathname.replace("/download/v9.9.9/", "");
    asked.push(file);
    return new Response(await Deno.readFile(`${host.sums.replace("SHA256SUMS", file)}`));
  });
  const result = await host.install(`http://127.0.0.1:${server.addr.port}/download/v9.9.9/${name}.tar.gz`);
  assertEquals(result.stderr, "");
  assertEquals(asked, [`${name}.tar.gz`, "SHA256SUMS"]);
  assertEquals(host.files(), INSTALLED);
});

testOnLinux("install.sh installs nothing that it cannot verify", async () => {
  using host = new Host();
  const wrong = "0".repeat(64);
  const cases: [string, string[], RegExp][] = [
    ["", [host.executable], /no checksum for ollama-exporter in SHA256SUMS/],
    [
      `${wrong}  ollama-exporter\n`,
      [host.executable],
      /checksum mismatch: .* does not have the SHA-256 checksum 0{64}$/m,
    ],
    ["", [host.executable, "--sha256", wrong], /checksum mismatch/],
    ["", [host.executable, "--sha256", "rubbish"], /checksum mismatch/],
    ["", ["/nowhere/ollama-exporter"], /file not found: \/nowhere\/ollama-exporter/],
    ["", ["http://127.0.0.1:1/ollama-exporter"], /cannot download/],
    ["", ["--frce"], /unknown argument --frce/],
    ["", [], /no ollama-exporter found next to .*\/deploy\/systemd: name a FILE or URL/],
    ["", ["a", "b"], /unexpected argument b: one FILE or URL is installed, a$/m],
    ["", [""], /FILE is empty/],
    ["", ["--remove", "a"], /--remove takes --purge and --root only/],
    ["", ["--remove", "--no-start"], /--remove takes --purge and --root only/],
    ["", ["--purge", host.executable], /--purge needs --remove/],
  ];
  for (const [sums, args, message] of cases) {
    Deno.writeTextFileSync(host.sums, sums);
    const { code, stderr } = await host.install(...args);
    assertFalse(code === 0, args.join(" "));
    assertMatch(stderr, message);
  }
  await Deno.remove(host.sums);
  assertMatch((await host.install(host.executable)).stderr, /no SHA256SUMS found next to .*: use --sha256/);
  assertEquals(host.files(), []);
});
