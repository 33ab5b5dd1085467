import { assertEquals } from "@std/assert";
import type { Address } from "../../../lib/http.ts";
import { coversAddress, isOwnAddress } from "../../../lib/settings/addresses.ts";

const PORT = 8000;

function at(hostname: string, port = PORT): Address {
  return { hostname, port };
}

Deno.test("coversAddress() is true where a second listener certainly has no address left", () => {
  const covered: [string, string][] = [
    ["127.0.0.1", "127.0.0.1"],
    ["Exporter.example.com", "exporter.EXAMPLE.com"],
    ["::1", "0:0:0:0:0:0:0:1"],
    ["localhost", "127.0.0.1"],
    ["127.0.0.1", "localhost"],
    ["0.0.0.0", "127.0.0.1"],
    ["0.0.0.0", "10.0.0.7"],
    ["0.0.0.0", "localhost"],
    ["::", "0.0.0.0"],
    ["::", "127.0.0.1"],
    ["::", "fd00::7"],
  ];
  for (const [host, other] of covered) assertEquals(coversAddress(at(host), at(other)), true, `${host} ${other}`);
});

Deno.test("coversAddress() is false for other ports, other addresses and names that it would have to resolve", () => {
  const free: [string, string][] = [
    ["127.0.0.1", "127.0.0.2"],
    ["127.0.0.1", "0.0.0.0"],
    ["0.0.0.0", "::1"],
    ["0.0.0.0", "::"],
    ["::1", "localhost"],
    ["0.0.0.0", "exporter.example.com"],
    ["exporter", "exporter.example.com"],
    // Not valid in a URL.
    ["fe80::1%eth0", "fe80::1%eth1"],
    ["a<b", "a>b"],
  ];
  for (const [host, other] of free) assertEquals(coversAddress(at(host), at(other)), false, `${host} ${other}`);
  assertEquals(coversAddress(at("::", 8000), at("::", 8001)), false);
  assertEquals(coversAddress(at("::", 0), at("::", 0)), false, "the system chooses two ports");
});

Deno.test("isOwnAddress() is true where a URL leads to the listener", () => {
  const own: [string, string][] = [
    ["http://127.0.0.1:8000", "127.0.0.1"],
    ["http://localhost:8000", "127.0.0.1"],
    ["http://localhost:8000", "::1"],
    ["http://localhost:8000", "LocalHost"],
    ["http://127.0.0.1:8000", "localhost"],
    ["http://127.0.0.2:8000/base", "0.0.0.0"],
    ["https://localhost:8000", "0.0.0.0"],
    ["http://[::1]:8000", "::"],
    ["http://127.0.0.1:8000", "::"],
    ["http://gpu-1:8000", "::"],
    ["http://gpu-1:8000", "0.0.0.0"],
    ["http://10.0.0.7:8000", "10.0.0.7"],
  ];
  for (const [url, host] of own) assertEquals(isOwnAddress(new URL(url), at(host), "GPU-1"), true, `${url} ${host}`);
  assertEquals(isOwnAddress(new URL("http://localhost"), at("0.0.0.0", 80), ""), true);
  assertEquals(isOwnAddress(new URL("https://localhost"), at("0.0.0.0", 443), ""), true);
});

Deno.test("isOwnAddress() is false for other ports and other hosts", () => {
  const others: [string, string][] = [
    ["http://localhost:8001", "0.0.0.0"],
    ["http://localhost", "0.0.0.0"],
    ["http://ollama:8000", "0.0.0.0"],
    ["http://127.0.0.2:8000", "127.0.0.1"],
    ["http://[::1]:8000", "127.0.0.1"],
    ["http://127.0.0.1:8000", "::1"],
    ["http://localhost:8000", "10.0.0.7"],
    ["http://gpu-1:8000", "127.0.0.1"],
    ["http://localhost:8000", "a<b"],
  ];
  for (const [url, host] of others) {
    assertEquals(isOwnAddress(new URL(url), at(host), "gpu-1"), false, `${url} ${host}`);
  }
});
