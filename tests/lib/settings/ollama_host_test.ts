import { assertEquals } from "@std/assert";
import { maskCredentials, parseOllamaHost } from "../../../lib/settings/ollama_host.ts";

/** Examples of docs/ollama-api.md 7.2, with hosts that a client can connect to. */
const OLLAMA_HOSTS: Record<string, string> = {
  "": "http://127.0.0.1:11434/",
  "1.2.3.4": "http://1.2.3.4:11434/",
  "1.2.3.4:1234": "http://1.2.3.4:1234/",
  ":1234": "http://127.0.0.1:1234/",
  "example.com": "http://example.com:11434/",
  "example.com:1234": "http://example.com:1234/",
  "example.com:": "http://example.com:11434/",
  "[::1]": "http://[::1]:11434/",
  "::1": "http://[::1]:11434/",
  "2001:db8::7": "http://[2001:db8::7]:11434/",
  "[::1]:1337": "http://[::1]:1337/",
  "[::ffff:10.0.0.7]:1337": "http://10.0.0.7:1337/",
  "::ffff:10.0.0.7": "http://10.0.0.7:11434/",
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
  "[::ffff:0.0.0.0]:5000": "http://127.0.0.1:5000/",
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

Deno.test("parseOllamaHost() rejects ports that cannot be, for which Ollama takes its default", () => {
  const ports = [":66000", ":65536", ":-1", "localhost:99999", ":abc", "example.com:http", "http://x:1e3", "[::1]:a"];
  // Ports that `fetch` refuses to connect to.
  const reserved = [":0", "host:6000", "host:10080", "http://host:22", "https://host:25/path"];
  for (const text of [...ports, ...reserved]) assertEquals(parseOllamaHost(text)?.href, undefined, text);
});

Deno.test("parseOllamaHost() rejects other schemes, invalid hosts and credentials", () => {
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

Deno.test("maskCredentials() masks all before the last @ and the parameters of a query, and nothing else", () => {
  const masked: Record<string, string> = {
    "http://user:hunter2@host:1/path": "http://***@host:1/path",
    "user:hunter2@host": "***@host",
    "https://hunter2@host": "https://***@host",
    "http://user:hun@ter2@host": "http://***@host",
    "http://user:hun/ter2@host": "http://***@host",
    "http://user:hun://ter2@host": "http://***@host",
    "http://user:hun\nter2@host": "http://***@host",
    "--ollama.hosts=http://user:hunter2@host": "--ollama.hosts=http://***@host",
    "--ollama.hosts=user:hunter2@host": "--ollama.hosts=***@host",
    "http://host/path?key=hunter2": "http://host/path?***",
    "http://host/path": "http://host/path",
    "/metrics?x": "/metrics?x",
    "--log.level=LOUD": "--log.level=LOUD",
    "": "",
  };
  for (const [text, expected] of Object.entries(masked)) assertEquals(maskCredentials(text), expected, text);
});
