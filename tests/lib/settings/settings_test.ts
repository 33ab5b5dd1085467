import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { UserError } from "../../../lib/errors.ts";
import { type Config, helpText, parseCommand, parseOllamaHost, SETTINGS } from "../../../lib/settings/settings.ts";

/** The settings that a command line and an environment give. */
function configOf(args: string[], variables: Record<string, string> = {}): Config {
  const command = parseCommand(args, (name) => variables[name]);
  assert(command.name === "serve");
  return command.config;
}

/** The lines of the error that a command line and an environment give. */
function problemsOf(args: string[], variables: Record<string, string> = {}): string[] {
  return assertThrows(() => configOf(args, variables), UserError).message.split("\n");
}

/** Section 7.2 of the API, as a client has to connect: no empty host, no unspecified address. */
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

Deno.test("parseOllamaHost() gives what can be connected to, by Ollama's rules", () => {
  for (const [text, url] of Object.entries(OLLAMA_HOSTS)) {
    assertEquals(parseOllamaHost(text)?.href, url, JSON.stringify(text));
  }
});

Deno.test("parseOllamaHost() keeps the port of the scheme where none is given", () => {
  assertEquals(parseOllamaHost("http://1.2.3.4")?.port, "", "80 is what http means");
  assertEquals(parseOllamaHost("https://1.2.3.4")?.port, "", "443 is what https means");
  assertEquals(parseOllamaHost("1.2.3.4:80")?.origin, "http://1.2.3.4");
});

Deno.test("parseOllamaHost() accepts nothing that HTTP cannot be spoken to", () => {
  const refused = [
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
  for (const text of refused) assertEquals(parseOllamaHost(text)?.href, undefined, JSON.stringify(text));
});

Deno.test("parseCommand() gives the defaults where nothing is set", () => {
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

Deno.test("parseCommand() takes an empty variable for one that is not set", () => {
  const empty = Object.fromEntries(Object.values(SETTINGS).map(({ variable }) => [variable, ""]));
  assertEquals(configOf([], empty), configOf([]));
});

/** A value for each setting: its text, and what becomes of it. */
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

Deno.test("parseCommand() reads every setting from its variable and from its flag, and the flag wins", () => {
  for (const [name, [text, value]] of Object.entries(VALUES)) {
    const { variable, flag, default: other } = SETTINGS[name as keyof Config];
    const expected = { ...configOf([]), [name]: value };
    assertEquals(configOf([], { [variable]: text }), expected, variable);
    assertEquals(configOf([`--${flag}=${text}`]), expected, flag);
    assertEquals(configOf([`--${flag}`, text]), expected, flag);
    assertEquals(configOf([`-${flag}`, text]), expected, flag);
    assertEquals(configOf([`--${flag}=${text}`], { [variable]: other }), expected, "the flag wins");
    assertEquals(
      configOf([`--${flag}=${text}`], { [variable]: "\0" }),
      expected,
      "a variable that is not used is not read",
    );
    assertEquals(configOf([`--${flag}=${other}`, `--${flag}=${text}`]), expected, "the last flag wins");
  }
});

/** By setting: texts that are accepted, with their values, and texts that are not. */
const PARSERS: {
  readonly [Name in keyof Config]?: { accepted: Record<string, Config[Name]>; refused: readonly string[] };
} = {
  probeTimeoutMs: {
    accepted: { "1ms": 1, "3s": 3000, "1.5s": 1500, "2m": 120_000, "1h1m1s1ms": 3_661_001, "0.25h": 900_000 },
    refused: ["0s", "0ms", "3", "s", "-3s", "3 s", " 3s", "3S", "3s!", "1e3s", ".5s", "3us", "1000h", "Infinitys"],
  },
  shutdownTimeoutMs: {
    accepted: { "0s": 0, "30s": 30_000, "596h": 2_145_600_000 },
    refused: ["", "0", "30", "never", "597h", "9".repeat(400) + "s"],
  },
  listenAddress: {
    accepted: {
      "0.0.0.0:8000": { hostname: "0.0.0.0", port: 8000 },
      ":8000": { hostname: "0.0.0.0", port: 8000 },
      "[::]:8000": { hostname: "::", port: 8000 },
      "[::1]:0": { hostname: "::1", port: 0 },
      "localhost:65535": { hostname: "localhost", port: 65535 },
    },
    refused: [
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
    refused: [
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
    // Ports that `fetch` does not connect to.
    refused: ["host:6000", "host:0", "host:10080", "http://host:22", "ftp://host"],
  },
  allowedHosts: {
    accepted: { "a": ["a"], "a,,b.c": ["a", "b.c"], ",": [] },
    refused: ["*", "a.*", "*.*.a", "a b", "http://a", "a:1", "[::1]", "a..b", "ä"],
  },
  modelLabelLimit: {
    accepted: { "1": 1, "200": 200, "10000": 10_000, "007": 7 },
    refused: ["0", "10001", "-1", "1.5", "1e3", "0x10", "ten", " 5", "5 "],
  },
  openaiStreamUsage: {
    accepted: { true: true, false: false },
    refused: ["", "TRUE", "yes", "1", "true ", "constructor", "__proto__", "toString"],
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
    refused: ["TRACE", "CRITICAL", "WARNINGS", "0", "INFO ", "NOTSET"],
  },
  logFormat: { accepted: { text: "text", json: "json" }, refused: ["JSON", "logfmt", "xml"] },
};

Deno.test("SETTINGS accept and refuse what their rows say", () => {
  for (const [name, { accepted, refused }] of Object.entries(PARSERS)) {
    const { parse } = SETTINGS[name as keyof Config];
    for (const [text, value] of Object.entries(accepted)) {
      assertEquals(parse(text) as unknown, value, `${name}: ${JSON.stringify(text)}`);
    }
    for (const text of refused) assertEquals(parse(text), undefined, `${name}: ${JSON.stringify(text)}`);
  }
});

Deno.test("SETTINGS have defaults that they accept, and names that are unique and of one form", () => {
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

Deno.test("parseCommand() names all that is wrong at once: the setting, its value and what is accepted", () => {
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
    'Unknown argument "--frobnicate=1"; --help lists what is accepted',
    'Unknown argument "extra"; --help lists what is accepted',
    "--log.level has no value; accepted: --log.level=VALUE",
    `OLLAMA_HOST is "ftp://x"; accepted: ${SETTINGS.ollamaHost.accepts}`,
    `PROBE_TIMEOUT is "\\n"; accepted: ${SETTINGS.probeTimeoutMs.accepts}`,
    `--web.listen-address is "nowhere"; accepted: ${SETTINGS.listenAddress.accepts}`,
    `MODEL_LABEL_LIMIT is "0"; accepted: ${SETTINGS.modelLabelLimit.accepts}`,
  ]);
});

Deno.test("parseCommand() names a bad value of every setting, from its variable and from its flag", () => {
  // A path is whatever the system makes of it.
  const rows = Object.values(SETTINGS).filter(({ accepts }) => !accepts.startsWith("the path"));
  const bad = "\u0001 no";
  const fromVariables = problemsOf([], Object.fromEntries(rows.map(({ variable }) => [variable, bad])));
  const fromFlags = problemsOf(rows.map(({ flag }) => `--${flag}=${bad}`));
  const expected = (name: string, accepts: string): string => `${name} is "\\u0001 no"; accepted: ${accepts}`;
  assertEquals(fromVariables, rows.map(({ variable, accepts }) => expected(variable, accepts)));
  assertEquals(fromFlags, rows.map(({ flag, accepts }) => expected(`--${flag}`, accepts)));
});

Deno.test("parseCommand() refuses arguments that look almost like flags", () => {
  for (
    const argument of ["-", "--", "---log.level=INFO", "--LOG.LEVEL=INFO", "log.level=INFO", "--=x", "", "--log.leve=x"]
  ) {
    assertEquals(problemsOf([argument]), [
      `Unknown argument ${JSON.stringify(argument)}; --help lists what is accepted`,
    ]);
  }
});

Deno.test("parseCommand() takes an empty flag for the default, whatever the variable says", () => {
  assertEquals(configOf(["--log.level="], { LOG_LEVEL: "ERROR" }).logLevel, "INFO");
  assertEquals(configOf(["--web.config.file="], { WEB_CONFIG_FILE: "x" }).webConfigFile, undefined);
});

Deno.test("parseCommand() tells which settings were given, and which command", () => {
  const command = parseCommand(["health", "--log.level=ERROR"], (name) => ({ LISTEN_ADDRESS: ":9" })[name]);
  assert(command.name === "health");
  assertEquals([...command.given], ["listenAddress", "logLevel"]);
  assertEquals(command.config.listenAddress.port, 9);
});

Deno.test("parseCommand() keeps what follows the first equals sign", () => {
  assertEquals(problemsOf(["--ollama.host=a=b\nc"]), [
    `--ollama.host is "a=b\\nc"; accepted: ${SETTINGS.ollamaHost.accepts}`,
  ]);
});

Deno.test("parseCommand() helps before it complains", () => {
  for (const args of [["--help"], ["-h"], ["--nonsense", "--help"]]) {
    assertEquals(parseCommand(args, () => "nonsense").name, "help");
  }
  assertEquals(parseCommand(["--version"], () => "nonsense").name, "version");
  assertEquals(parseCommand(["--version", "--help"], () => "nonsense").name, "help");
});

Deno.test("helpText() has every setting's flag, variable, default, purpose and form", () => {
  const help = helpText();
  for (const { flag, variable, default: text, help: purpose, accepts } of Object.values(SETTINGS)) {
    assertStringIncludes(help, `--${flag}=${JSON.stringify(text)}  (${variable})`);
    assertStringIncludes(help, `${purpose} Accepted: ${accepts}.`);
  }
  for (const line of help.split("\n")) assert(line.length <= 160, line);
});
