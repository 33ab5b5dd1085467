import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { UserError } from "../../../lib/errors.ts";
import { type Config, helpText, parseCommand, parseOllamaHost, SETTINGS } from "../../../lib/settings/settings.ts";

/** Parses a `serve` command. */
function configOf(args: string[], variables: Record<string, string> = {}): Config {
  const command = parseCommand(args, (name) => variables[name]);
  assert(command.name === "serve");
  return command.config;
}

/** Lines of the error for an invalid command line or environment. */
function problemsOf(args: string[], variables: Record<string, string> = {}): string[] {
  return assertThrows(() => configOf(args, variables), UserError).message.split("\n");
}

/** Examples of docs/ollama-api.md 7.2, with hosts that a client can connect to. */
const OLLAMA_HOSTS: Record<string, string> = {
  "": "http://127.0.0.1:11434/",
  "1.2.3.4": "http://1.2.3.4:11434/",
  "1.2.3.4:1234": "http://1.2.3.4:1234/",
  ":1234": "http://127.0.0.1:1234/",
  "example.com": "http://example.com:11434/",
  "example.com:1234": "http://example.com:1234/",
  "example.com:": "http://example.com:11434/",
  "example.com:http": "http://example.com:11434/",
  ":0": "http://127.0.0.1:0/",
  ":66000": "http://127.0.0.1:11434/",
  ":-1": "http://127.0.0.1:11434/",
  "[::1]": "http://[::1]:11434/",
  "::1": "http://[::1]:11434/",
  "2001:db8::7": "http://[2001:db8::7]:11434/",
  "[::1]:1337": "http://[::1]:1337/",
  "http://[::1": "http://[::1]/",
  " 1.2.3.4 ": "http://1.2.3.4:11434/",
  '"1.2.3.4"': "http://1.2.3.4:11434/",
  "'1.2.3.4'": "http://1.2.3.4:11434/",
  '" 1.2.3.4 "': "http://1.2.3.4:11434/",
  " '\"1.2.3.4\"' ": "http://1.2.3.4:11434/",
  "http://1.2.3.4": "http://1.2.3.4/",
  "http://1.2.3.4:11434": "http://1.2.3.4:11434/",
  "http://:1234": "http://127.0.0.1:1234/",
  "http://": "http://127.0.0.1/",
  "https://1.2.3.4": "https://1.2.3.4/",
  "https://1.2.3.4:80": "https://1.2.3.4:80/",
  "https://example.com/ollama": "https://example.com/ollama",
  "https://example.com/ollama/": "https://example.com/ollama/",
  "https://example.com:8443/a/b": "https://example.com:8443/a/b",
  "example.com/ollama": "http://example.com:11434/ollama",
  "ollama.com": "https://ollama.com/",
  "ollama.com:80": "http://ollama.com/",
  "0.0.0.0": "http://127.0.0.1:11434/",
  "0.0.0.0:5000": "http://127.0.0.1:5000/",
  "https://0.0.0.0:4321": "https://127.0.0.1:4321/",
  "[::]:5000": "http://[::1]:5000/",
  "::": "http://[::1]:11434/",
  "[::0]:5000": "http://[::1]:5000/",
  "0:0:0:0:0:0:0:0": "http://[::1]:11434/",
};

Deno.test("parseOllamaHost() follows Ollama's rules and replaces unspecified addresses by loopback", () => {
  for (const [text, url] of Object.entries(OLLAMA_HOSTS)) {
    assertEquals(parseOllamaHost(text)?.href, url, JSON.stringify(text));
  }
});

Deno.test("parseOllamaHost() defaults to the port of the scheme", () => {
  assertEquals(parseOllamaHost("http://1.2.3.4")?.port, "", "default port of http");
  assertEquals(parseOllamaHost("https://1.2.3.4")?.port, "", "default port of https");
  assertEquals(parseOllamaHost("1.2.3.4:80")?.origin, "http://1.2.3.4");
});

Deno.test("parseOllamaHost() rejects other schemes and invalid hosts", () => {
  const rejected = [
    "ftp://1.2.3.4",
    "unix:///run/ollama.sock",
    "://1.2.3.4",
    "constructor://1.2.3.4",
    "__proto__://1.2.3.4",
    "user:password@1.2.3.4",
    "http://user@1.2.3.4:1234",
    "1.2.3.4 5",
    "a b",
    "a\\b",
    "1.2.3.4:1234@5.6.7.8",
    "host?x=1",
    "host:1234?x=1",
    "host#x",
    "host/path?x=1",
    "host/path#x",
    "a:b:c",
    "fe80::1%eth0",
    "exa<mple.com",
    "1.2.3.4.5",
    "line\nfeed",
  ];
  for (const text of rejected) assertEquals(parseOllamaHost(text)?.href, undefined, JSON.stringify(text));
});

Deno.test("parseCommand() returns the defaults if nothing is set", () => {
  assertEquals(configOf([]), {
    ollamaHost: new URL("http://localhost:11434"),
    probeTimeoutMs: 3000,
    webServer: "deno",
    listenAddress: { hostname: "0.0.0.0", port: 8000 },
    metricsListenAddress: undefined,
    metricsPath: "/metrics",
    webConfigFile: undefined,
    allowedHosts: [],
    shutdownTimeoutMs: 30_000,
    modelLabelLimit: 200,
    openaiStreamUsage: true,
    logLevel: "INFO",
    logFormat: "text",
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
  probeTimeoutMs: ["250ms", 250],
  webServer: ["node", "node"],
  listenAddress: ["[::1]:9", { hostname: "::1", port: 9 }],
  metricsListenAddress: ["127.0.0.1:9", { hostname: "127.0.0.1", port: 9 }],
  metricsPath: ["/a/b-c_d.e~f/", "/a/b-c_d.e~f/"],
  webConfigFile: ["/etc/web.yml", "/etc/web.yml"],
  allowedHosts: ["A.example.com, *.example.org", ["a.example.com", "*.example.org"]],
  shutdownTimeoutMs: ["1m30s", 90_000],
  modelLabelLimit: ["7", 7],
  openaiStreamUsage: ["false", false],
  logLevel: ["debug", "DEBUG"],
  logFormat: ["json", "json"],
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
    assertEquals(configOf([`--${flag}=${other}`, `--${flag}=${text}`]), expected, "the last flag takes precedence");
  }
});

/** By setting: accepted texts with their values, and rejected texts. */
const PARSERS: {
  readonly [Name in keyof Config]?: { accepted: Record<string, Config[Name]>; rejected: readonly string[] };
} = {
  probeTimeoutMs: {
    accepted: { "1ms": 1, "3s": 3000, "1.5s": 1500, "2m": 120_000, "1h1m1s1ms": 3_661_001, "0.25h": 900_000 },
    rejected: ["0", "0s", "0ms", "3", "-3s", "1000h"],
  },
  shutdownTimeoutMs: {
    accepted: { "0": 0, "0s": 0, "30s": 30_000, "596h": 2_145_600_000 },
    rejected: ["", "30", "never", "597h", "2147483648ms"],
  },
  listenAddress: {
    accepted: {
      "0.0.0.0:8000": { hostname: "0.0.0.0", port: 8000 },
      ":8000": { hostname: "0.0.0.0", port: 8000 },
      "[::]:8000": { hostname: "::", port: 8000 },
      "[::1]:0": { hostname: "::1", port: 0 },
      "localhost:65535": { hostname: "localhost", port: 65535 },
    },
    rejected: [
      "8000",
      "localhost",
      "localhost:",
      ":65536",
      ":-1",
      ":http",
      "::1:80",
      "http://a:80",
      "a/b:80",
      "a b:80",
      "",
    ],
  },
  metricsPath: {
    accepted: { "/metrics": "/metrics", "/a/b": "/a/b", "/-": "/-", "/apis/x": "/apis/x", "/v1": "/v1" },
    rejected: [
      "",
      "/",
      "metrics",
      "/a?b",
      "/a#b",
      "/a b",
      "/%41",
      "/ä",
      "/a\n",
      "/-/healthy",
      "/-/ready",
      "/-/",
      "/api/chat",
      "/v1/models",
    ],
  },
  ollamaHost: {
    accepted: { "example.com": new URL("http://example.com:11434"), "https://x": new URL("https://x") },
    // Ports that `fetch` refuses to connect to.
    rejected: ["host:6000", "host:0", "host:10080", "http://host:22", "ftp://host"],
  },
  allowedHosts: {
    accepted: { "a": ["a"], "a,,b.c": ["a", "b.c"], ",": [] },
    rejected: ["*", "a.*", "*.*.a", "a b", "http://a", "a:1", "[::1]", "a..b", "ä"],
  },
  modelLabelLimit: {
    accepted: { "1": 1, "200": 200, "10000": 10_000, "007": 7 },
    rejected: ["0", "10001", "-1", "1.5", "1e3", "0x10", "ten", " 5", "5 "],
  },
  openaiStreamUsage: {
    accepted: { true: true, false: false },
    rejected: ["", "TRUE", "yes", "1", "true ", "constructor", "__proto__", "toString"],
  },
  logLevel: {
    accepted: {
      DEBUG: "DEBUG",
      info: "INFO",
      Warn: "WARN",
      WARNING: "WARN",
      warning: "WARN",
      error: "ERROR",
    },
    rejected: ["TRACE", "CRITICAL", "WARNINGS", "0", "INFO ", "NOTSET"],
  },
  logFormat: { accepted: { text: "text", json: "json" }, rejected: ["JSON", "logfmt", "xml"] },
};

Deno.test("SETTINGS parse valid values and reject invalid ones", () => {
  for (const [name, { accepted, rejected }] of Object.entries(PARSERS)) {
    const { parse } = SETTINGS[name as keyof Config];
    for (const [text, value] of Object.entries(accepted)) {
      assertEquals(parse(text) as unknown, value, `${name}: ${JSON.stringify(text)}`);
    }
    for (const text of rejected) assertEquals(parse(text), undefined, `${name}: ${JSON.stringify(text)}`);
  }
});

Deno.test("SETTINGS have valid defaults and unique, well-formed names", () => {
  const rows = Object.values(SETTINGS);
  for (const row of rows) {
    assert(row.default === "" || row.parse(row.default) !== undefined, row.variable);
    assert(/^[A-Z]+(_[A-Z]+)*$/.test(row.variable), row.variable);
    assert(/^[a-z]+(\.[a-z]+)+(-[a-z]+)*$/.test(row.flag), row.flag);
    assert(/^[A-Z].*\.$/.test(row.help), row.help);
  }
  assertEquals(new Set(rows.map(({ variable }) => variable)).size, rows.length);
  assertEquals(new Set(rows.map(({ flag }) => flag)).size, rows.length);
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

Deno.test("parseCommand() uses the default for an empty flag, regardless of the variable", () => {
  assertEquals(configOf(["--log.level="], { LOG_LEVEL: "ERROR" }).logLevel, "INFO");
  assertEquals(configOf(["--web.config.file="], { WEB_CONFIG_FILE: "x" }).webConfigFile, undefined);
});

Deno.test("parseCommand() returns the command and the settings that were set", () => {
  const command = parseCommand(["health", "--log.level=ERROR"], (name) => ({ LISTEN_ADDRESS: ":9" })[name]);
  assert(command.name === "health");
  assertEquals([...command.given], ["listenAddress", "logLevel"]);
  assertEquals(command.config.listenAddress.port, 9);
});

Deno.test("parseCommand() splits a flag at the first equals sign", () => {
  assertEquals(problemsOf(["--ollama.host=a=b\nc"]), [
    `--ollama.host: expected ${SETTINGS.ollamaHost.accepts}, got "a=b\\nc"`,
  ]);
});

Deno.test("parseCommand() handles --help and --version before invalid arguments", () => {
  for (const args of [["--help"], ["-h"], ["--nonsense", "--help"]]) {
    assertEquals(parseCommand(args, () => "nonsense").name, "help");
  }
  assertEquals(parseCommand(["--version"], () => "nonsense").name, "version");
  assertEquals(parseCommand(["--version", "--help"], () => "nonsense").name, "help");
});

Deno.test("helpText() has the flag, variable, default, description and accepted values of every setting", () => {
  const help = helpText();
  for (const { flag, variable, default: text, help: purpose, accepts } of Object.values(SETTINGS)) {
    assertStringIncludes(help, `--${flag}=${JSON.stringify(text)}  (${variable})`);
    assertStringIncludes(help, `${purpose} Accepts ${accepts}.`);
  }
  for (const line of help.split("\n")) assert(line.length <= 160, line);
});
