/** The command line and the environment: values and problems. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type Command, type ConfiguredCommand, parseCommand, sourceOf } from "../../../lib/settings/command.ts";
import { type Config, SETTINGS } from "../../../lib/settings/settings.ts";

/** Host name of this machine. */
const MACHINE = "gpu-1";

function commandOf(args: string[], variables: Record<string, string> = {}): Command {
  return parseCommand(args, (name) => variables[name], MACHINE);
}

/** Parses a `serve` command. */
function serveOf(args: string[], variables: Record<string, string> = {}): ConfiguredCommand {
  const command = commandOf(args, variables);
  assert(command.name === "serve");
  return command;
}

/** Configuration of a valid command line and environment. */
function configOf(args: string[], variables: Record<string, string> = {}): Config {
  const { config, problems } = serveOf(args, variables);
  assertEquals(problems, []);
  return config;
}

/** Problems of an invalid command line or environment. */
function problemsOf(args: string[], variables: Record<string, string> = {}): readonly string[] {
  const { problems } = serveOf(args, variables);
  assert(problems.length > 0, "it has no problems");
  return problems;
}

Deno.test("parseCommand() returns the defaults if nothing is set", () => {
  assertEquals(configOf([]), {
    ollamaHost: new URL("http://localhost:11434"),
    ollamaCaFile: undefined,
    ollamaHeadersFile: undefined,
    probeTimeoutMs: 3000,
    webServer: "auto",
    listenAddress: { hostname: "::", port: 8000 },
    systemdSocket: false,
    metricsListenAddress: undefined,
    metricsPath: "/metrics",
    webConfigFile: undefined,
    allowedHosts: [],
    trustedProxies: [],
    shutdownTimeoutMs: 30_000,
    modelLabelLimit: 200,
    clientLabel: undefined,
    clientLabelLimit: 50,
    clientKeysFile: undefined,
    sloFirstTokenMs: undefined,
    sloPerTokenMs: undefined,
    openaiStreamUsage: true,
    logLevel: "INFO",
    logFormat: "text",
    slowRequestMs: undefined,
    logConfig: undefined,
  });
});

Deno.test("parseCommand() treats an empty variable as not set", () => {
  const empty = Object.fromEntries(Object.values(SETTINGS).map(({ variable }) => [variable, ""]));
  assertEquals(configOf([], empty), configOf([]));
});

/** A text and its parsed value for each setting. */
const VALUES: { readonly [Name in keyof Config]: readonly [text: string, value: Config[Name]] } = {
  ollamaHost: ["https://example.com/ollama", new URL("https://example.com/ollama")],
  ollamaCaFile: ["/etc/ca.pem", "/etc/ca.pem"],
  ollamaHeadersFile: ["/etc/headers", "/etc/headers"],
  probeTimeoutMs: ["250ms", 250],
  webServer: ["node", "node"],
  listenAddress: ["[::1]:9", { hostname: "::1", port: 9 }],
  systemdSocket: ["true", true],
  metricsListenAddress: ["127.0.0.1:9", { hostname: "127.0.0.1", port: 9 }],
  metricsPath: ["/a/b-c_d.e~f/", "/a/b-c_d.e~f/"],
  webConfigFile: ["/etc/web.yml", "/etc/web.yml"],
  allowedHosts: ["A.example.com, *.example.org", ["a.example.com", "*.example.org"]],
  shutdownTimeoutMs: ["1m30s", 90_000],
  trustedProxies: ["10.0.0.0/8", [{ address: "10.0.0.0", prefix: 8, family: "ipv4" }]],
  modelLabelLimit: ["7", 7],
  clientLabel: ["address", "address"],
  clientLabelLimit: ["8", 8],
  clientKeysFile: ["/etc/keys", "/etc/keys"],
  sloFirstTokenMs: ["1.5s", 1500],
  sloPerTokenMs: ["35ms", 35],
  openaiStreamUsage: ["false", false],
  logLevel: ["debug", "DEBUG"],
  logFormat: ["json", "json"],
  slowRequestMs: ["30s", 30_000],
  logConfig: ["log.yaml", "log.yaml"],
};

Deno.test("parseCommand() reads every setting from its variable and from its flag, which takes precedence", () => {
  for (const [name, [text, value]] of Object.entries(VALUES)) {
    const { variable, flag, default: other } = SETTINGS[name as keyof Config];
    const expected = { ...configOf([]), [name]: value };
    assertEquals(configOf([], { [variable]: text }), expected, variable);
    assertEquals(configOf([`--${flag}=${text}`]), expected, flag);
    assertEquals(configOf([`--${flag}`, text]), expected, flag);
    assertEquals(configOf([`-${flag}`, text]), expected, flag);
    assertEquals(configOf([`--${flag}=${text}`], { [variable]: other }), expected, "the flag overrides the variable");
    assertEquals(
      configOf([`--${flag}=${text}`], { [variable]: "\0" }),
      expected,
      "an overridden variable is not parsed",
    );
    assertEquals(problemsOf([`--${flag}=${other}`, `-${flag}`, text]), [`--${flag}: given more than once`]);
  }
});

Deno.test("parseCommand() reports all invalid settings at once, each with its value and what is expected", () => {
  const problems = problemsOf(
    ["--web.listen-address=nowhere", "--frobnicate=1", "extra", "--log.level"],
    {
      OLLAMA_HOST: "ftp://x",
      MODEL_LABEL_LIMIT: "0",
      PROBE_TIMEOUT: "\n",
      LISTEN_ADDRESS: ":8000",
      LOG_FORMAT: "text",
    },
  );
  assertEquals(problems, [
    'Unknown argument "--frobnicate=1": see --help',
    'Unknown argument "extra": see --help',
    "--log.level: missing value",
    `OLLAMA_HOST: expected ${SETTINGS.ollamaHost.accepts}, got "ftp://x"`,
    `PROBE_TIMEOUT: expected ${SETTINGS.probeTimeoutMs.accepts}, got "\\n"`,
    `--web.listen-address: expected ${SETTINGS.listenAddress.accepts}, got "nowhere"`,
    `MODEL_LABEL_LIMIT: expected ${SETTINGS.modelLabelLimit.accepts}, got "0"`,
  ]);
});

Deno.test("parseCommand() reports an invalid value of every setting under the name of its variable or flag", () => {
  // Any text can be a path.
  const rows = Object.values(SETTINGS).filter(({ accepts }) => !accepts.startsWith("the path"));
  const bad = "\u0001 no";
  const fromVariables = problemsOf([], Object.fromEntries(rows.map(({ variable }) => [variable, bad])));
  const fromFlags = problemsOf(rows.map(({ flag }) => `--${flag}=${bad}`));
  const expected = (name: string, accepts: string): string => `${name}: expected ${accepts}, got "\\u0001 no"`;
  assertEquals(fromVariables, rows.map(({ variable, accepts }) => expected(variable, accepts)));
  assertEquals(fromFlags, rows.map(({ flag, accepts }) => expected(`--${flag}`, accepts)));
});

Deno.test("parseCommand() rejects malformed flags", () => {
  for (
    const argument of ["-", "--", "---log.level=INFO", "--LOG.LEVEL=INFO", "log.level=INFO", "--=x", "", "--log.leve=x"]
  ) {
    assertEquals(problemsOf([argument]), [
      `Unknown argument ${JSON.stringify(argument)}: see --help`,
    ]);
  }
});

Deno.test("parseCommand() takes a boolean flag without a value as true", () => {
  const [socket, usage] = ["--web.systemd-socket", "--openai.stream-usage"];
  assertEquals(configOf([socket]).systemdSocket, true);
  assertEquals(configOf([socket, "false"]).systemdSocket, false);
  assertEquals(configOf([socket], { SYSTEMD_SOCKET: "false" }).systemdSocket, true);
  const config = configOf([usage, "false", socket, "--log.level=ERROR"]);
  assertEquals([config.openaiStreamUsage, config.systemdSocket, config.logLevel], [false, true, "ERROR"]);
  assertEquals(problemsOf([socket, "yes"]), ['Unknown argument "yes": see --help']);
  assertEquals(problemsOf([`${socket}=yes`]), [`${socket}: expected \`true\` or \`false\`, got "yes"`]);
  assertEquals(problemsOf(["--log.level"]), ["--log.level: missing value"]);
});

Deno.test("SETTINGS complete values that are accepted, and files where a path is", () => {
  for (const { flag, completes, accepts, parse } of Object.values(SETTINGS)) {
    assertEquals(completes === "file", accepts.startsWith("the path of"), flag);
    const values = completes === "file" || completes === undefined ? [] : completes;
    for (const value of values) {
      assert(parse(value) !== undefined && accepts.includes(`\`${value}\``), `${flag} ${value}`);
    }
  }
});

Deno.test("parseCommand() uses the default for an empty flag, regardless of the variable", () => {
  assertEquals(configOf(["--log.level="], { LOG_LEVEL: "ERROR" }).logLevel, "INFO");
  assertEquals(configOf(["--web.config.file="], { WEB_CONFIG_FILE: "x" }).webConfigFile, undefined);
});

Deno.test("parseCommand() returns the command and the settings that were set", () => {
  const command = commandOf(["health", "--log.level=ERROR"], { LISTEN_ADDRESS: ":9" });
  assert(command.name === "health");
  assertEquals([...command.given], [["listenAddress", "LISTEN_ADDRESS"], ["logLevel", "--log.level"]]);
  assertEquals(sourceOf("logLevel", command), "--log.level");
  assertEquals(sourceOf("logFormat", command), "LOG_FORMAT");
  assertEquals(command.config.listenAddress.port, 9);
});

Deno.test("parseCommand() uses the defaults in place of invalid values, for what is checked besides", () => {
  const { config } = serveOf(["--web.config.file=web.yml"], { OLLAMA_HOST: "ftp://x", LOG_FORMAT: "xml" });
  assertEquals(config, { ...configOf([]), webConfigFile: "web.yml" });
});

Deno.test("parseCommand() rejects the exporter's own addresses as OLLAMA_HOST, and one address for two listeners", () => {
  const own = (got: string, source: string): string =>
    `OLLAMA_HOST: expected the address of Ollama, got "${got}", the exporter's own (${source})`;
  assertEquals(problemsOf([], { OLLAMA_HOST: "localhost:8000" }), [own("localhost:8000", "LISTEN_ADDRESS")]);
  assertEquals(problemsOf([], { OLLAMA_HOST: `${MACHINE}:8000` }), [own(`${MACHINE}:8000`, "LISTEN_ADDRESS")]);
  assertEquals(problemsOf(["--web.listen-address=127.0.0.1:11434"]), [
    own("http://localhost:11434", "--web.listen-address"),
  ]);
  assertEquals(problemsOf([], { OLLAMA_HOST: "127.0.0.1:9000", METRICS_LISTEN_ADDRESS: "127.0.0.1:9000" }), [
    own("127.0.0.1:9000", "METRICS_LISTEN_ADDRESS"),
  ]);
  const used = "expected an address or port that LISTEN_ADDRESS does not use";
  assertEquals(problemsOf(["--web.metrics-listen-address=127.0.0.1:8000"]), [
    `--web.metrics-listen-address: ${used}, got "127.0.0.1:8000"`,
  ]);
  assertEquals(problemsOf([], { LISTEN_ADDRESS: "127.0.0.1:9", METRICS_LISTEN_ADDRESS: ":9" }), [
    `METRICS_LISTEN_ADDRESS: ${used}, got ":9"`,
  ]);
  // With a socket of systemd the listen address is not used.
  configOf([], { LISTEN_FDS: "1", METRICS_LISTEN_ADDRESS: ":8000", OLLAMA_HOST: "gpu-2:8000" });
  // A client's variable in the shell that runs the command.
  const health = commandOf(["health"], { OLLAMA_HOST: "localhost:8000" });
  assert(health.name === "health");
  assertEquals(health.problems, []);
});

Deno.test("parseCommand() rejects CLIENT_LABEL=api-key without a file of keys", () => {
  const expected = `expected ${SETTINGS.clientKeysFile.accepts}, for`;
  assertEquals(problemsOf([], { CLIENT_LABEL: "api-key" }), [
    `CLIENT_KEYS_FILE: ${expected} CLIENT_LABEL=api-key, got ""`,
  ]);
  assertEquals(problemsOf(["--metrics.client-label=api-key"]), [
    `CLIENT_KEYS_FILE: ${expected} --metrics.client-label=api-key, got ""`,
  ]);
  configOf([], { CLIENT_LABEL: "api-key", CLIENT_KEYS_FILE: "keys" });
});

Deno.test("parseCommand() points to api-key where a header with credentials would be the label", () => {
  assertEquals(problemsOf([], { CLIENT_LABEL: "header:Authorization" }), [
    "CLIENT_LABEL: expected `user-agent`, `address`, `api-key` (for headers with credentials) or `header:Name`, " +
    'got "header:Authorization"',
  ]);
});

Deno.test("parseCommand() compares no addresses that are invalid", () => {
  const variables = { OLLAMA_HOST: "ftp://x", LISTEN_ADDRESS: "127.0.0.1:11434", METRICS_LISTEN_ADDRESS: "x" };
  assertEquals(problemsOf([], variables).map((line) => line.split(":")[0]), ["OLLAMA_HOST", "METRICS_LISTEN_ADDRESS"]);
  const invalid = { LISTEN_ADDRESS: "x", METRICS_LISTEN_ADDRESS: "0.0.0.0:8000", OLLAMA_HOST: "127.0.0.1:8000" };
  assertEquals(problemsOf([], invalid).map((line) => line.split(":")[0]), ["LISTEN_ADDRESS", "OLLAMA_HOST"]);
});

Deno.test("parseCommand() never quotes a password of a URL", () => {
  for (const text of ["user:hunter2@host", "http://user:hunter2@host/path", "hunter2@host", "host/?token=hunter2"]) {
    const lines = [
      ...problemsOf([], { OLLAMA_HOST: text }),
      ...problemsOf([`--ollama.host=${text}`]),
      ...problemsOf([`--ollama.hosts=${text}`]),
      ...problemsOf(["--log.level", text, text]),
    ].join("\n");
    assertEquals(lines.includes("hunter2"), false, lines);
    assertStringIncludes(lines, "***");
  }
});

Deno.test("parseCommand() splits a flag at the first equals sign", () => {
  assertEquals(problemsOf(["--ollama.host=a=b\nc"]), [
    `--ollama.host: expected ${SETTINGS.ollamaHost.accepts}, got "a=b\\nc"`,
  ]);
});

Deno.test("parseCommand() handles --help and --version before invalid arguments", () => {
  for (const args of [["--help"], ["-h"], ["--nonsense", "--help"]]) {
    assertEquals(parseCommand(args, () => "nonsense", MACHINE).name, "help");
  }
  assertEquals(parseCommand(["--version"], () => "nonsense", MACHINE).name, "version");
  assertEquals(parseCommand(["--version", "--help"], () => "nonsense", MACHINE).name, "help");
});
