import { assertEquals } from "@std/assert";
import { clientIdentity, PROXIES_LIMIT } from "../../../lib/clients/client_identity.ts";
import { ClientKeys } from "../../../lib/clients/client_keys.ts";
import { CLIENT_LIMIT_CHARACTERS } from "../../../lib/clients/client_name.ts";
import { UNKNOWN_CLIENT } from "../../../lib/observation.ts";
import type { ClientLabel } from "../../../lib/settings/client_label.ts";
import { parseSubnets } from "../../../lib/settings/parse.ts";
import { random } from "../../support/fixtures.ts";
import { TemporaryFolder } from "../../support/temporary_folder.ts";

function peer(hostname: string): Deno.NetAddr {
  return { transport: "tcp", hostname, port: 50_000 };
}

/** The client of a request with these headers, from loopback. */
function clientOf(label: ClientLabel, headers: HeadersInit): string {
  return clientIdentity({ label, trustedProxies: [] })(new Headers(headers), peer("127.0.0.1"));
}

/** The client by address of a request with this `X-Forwarded-For`. */
function addressOf(remote: Deno.Addr, forwarded: string | undefined, trusted: string): string {
  const headers = new Headers(forwarded === undefined ? {} : { "x-forwarded-for": forwarded });
  return clientIdentity({ label: "address", trustedProxies: parseSubnets(trusted) ?? [] })(headers, remote);
}

Deno.test("clientIdentity() takes the value of a header, as UTF-8", () => {
  const rows: [value: string, client: string][] = [
    ["alice", "alice"],
    ["alice@example.com", "alice@example.com"],
    ["J\xc3\xbcrgen", "Jürgen"],
    ["J\xfcrgen", UNKNOWN_CLIENT],
    ["a\xc2\x85b", UNKNOWN_CLIENT],
    ["a\xe2\x80\xaeb", UNKNOWN_CLIENT],
    ["a\tb", UNKNOWN_CLIENT],
    ["", UNKNOWN_CLIENT],
    ["x".repeat(CLIENT_LIMIT_CHARACTERS), "x".repeat(CLIENT_LIMIT_CHARACTERS)],
    ["x".repeat(CLIENT_LIMIT_CHARACTERS + 1), UNKNOWN_CLIENT],
  ];
  for (const [value, client] of rows) assertEquals(clientOf("header:remote-user", { "Remote-User": value }), client);
  assertEquals(clientOf("header:remote-user", { "x-user": "alice" }), UNKNOWN_CLIENT);
});

Deno.test("clientIdentity() takes the first product of User-Agent without its version", () => {
  const rows: [value: string, client: string][] = [
    ["ollama-python/0.4.5 (x86_64 linux) Python/3.12", "ollama-python"],
    ["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "Mozilla"],
    ["OpenAI/Python 1.54.0", "OpenAI"],
    ["curl/8.5.0", "curl"],
    ["node", "node"],
    ["my_client (test)", "my_client"],
    ["(comment) curl/8", UNKNOWN_CLIENT],
    ["/1.0", UNKNOWN_CLIENT],
    ["", UNKNOWN_CLIENT],
    [`${"x".repeat(65)}/1`, UNKNOWN_CLIENT],
  ];
  for (const [value, client] of rows) assertEquals(clientOf("user-agent", { "user-agent": value }), client, value);
  assertEquals(clientOf("user-agent", {}), UNKNOWN_CLIENT);
});

Deno.test("clientIdentity() takes the address of the peer, and believes no header of one that is not trusted", () => {
  assertEquals(addressOf(peer("192.0.2.1"), undefined, ""), "192.0.2.1");
  assertEquals(addressOf(peer("192.0.2.1"), "198.51.100.7", ""), "192.0.2.1");
  assertEquals(addressOf(peer("192.0.2.1"), "198.51.100.7", "192.0.2.2"), "192.0.2.1");
  assertEquals(addressOf(peer("::ffff:192.0.2.1"), "198.51.100.7", ""), "192.0.2.1");
  assertEquals(addressOf(peer("2001:DB8:0::1"), "198.51.100.7", ""), "2001:db8::1");
  assertEquals(addressOf(peer("fe80::1%eth0"), undefined, ""), "fe80::1");
  for (const path of ["/run/socket", ""]) {
    assertEquals(addressOf({ transport: "unix", path }, "198.51.100.7", "0.0.0.0/0,::/0"), UNKNOWN_CLIENT);
  }
});

Deno.test("clientIdentity() walks X-Forwarded-For from the right, past trusted proxies", () => {
  const trusted = "10.0.0.0/8, fd00::/8, 192.0.2.1";
  const rows: [peer: string, forwarded: string, client: string][] = [
    ["10.0.0.1", "198.51.100.7", "198.51.100.7"],
    ["::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"],
    ["fd00::1", "198.51.100.7", "198.51.100.7"],
    ["10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"],
    ["10.0.0.1", "203.0.113.9, 198.51.100.7, 10.0.0.2,192.0.2.1", "198.51.100.7"],
    ["10.0.0.1", "203.0.113.9,fd12::3 , ::ffff:10.9.9.9", "203.0.113.9"],
    // All are trusted: a client of the network itself.
    ["10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"],
    ["10.0.0.1", "", "10.0.0.1"],
    // Ports, brackets and zones.
    ["10.0.0.1", "198.51.100.7:5001", "198.51.100.7"],
    ["10.0.0.1", "[2001:db8::7]:5001", "2001:db8::7"],
    ["10.0.0.1", "[2001:DB8:0:0::7]", "2001:db8::7"],
    ["10.0.0.1", "2001:db8::7%25eth0", "2001:db8::7"],
    ["10.0.0.1", "198.51.100.7, 10.0.0.2:80", "198.51.100.7"],
    ["10.0.0.1", "::ffff:c633:6407", "198.51.100.7"],
    // A malformed entry ends the walk.
    ["10.0.0.1", "198.51.100.7, unknown", "10.0.0.1"],
    ["10.0.0.1", "198.51.100.7, unknown, 10.0.0.2", "10.0.0.2"],
    ["10.0.0.1", "198.51.100.7,, 10.0.0.2", "10.0.0.2"],
    ["10.0.0.1", "198.51.100.7,", "10.0.0.1"],
    ["10.0.0.1", ",198.51.100.7", "198.51.100.7"],
    ["10.0.0.1", "198.51.100.007", "10.0.0.1"],
    ["10.0.0.1", "198.51.100", "10.0.0.1"],
    ["10.0.0.1", "198.51.100.7:", "10.0.0.1"],
    ["10.0.0.1", "198.51.100.7:port", "10.0.0.1"],
    ["10.0.0.1", '"198.51.100.7"', "10.0.0.1"],
    ["10.0.0.1", "[198.51.100.7", "10.0.0.1"],
    ["10.0.0.1", "2001:db8::7::1", "10.0.0.1"],
  ];
  for (const [hostname, forwarded, client] of rows) {
    assertEquals(addressOf(peer(hostname), forwarded, trusted), client, `${hostname}: ${forwarded}`);
  }
});

Deno.test("clientIdentity() walks past a bounded number of trusted proxies", () => {
  const ofAddress = clientIdentity({ label: "address", trustedProxies: parseSubnets("10.0.0.0/8") ?? [] });
  const behind = (proxies: number): string => {
    const hops = Array.from({ length: proxies }, (_, index) => `10.0.0.${index + 1}`);
    return ofAddress({ get: () => ["192.0.2.1", ...hops].join(", ") }, peer("10.9.9.9"));
  };
  // The peer is one of them.
  assertEquals(behind(PROXIES_LIMIT - 1), "192.0.2.1");
  assertEquals(behind(PROXIES_LIMIT), "10.0.0.1");
});

Deno.test("clientIdentity() takes IPv4-mapped addresses and blocks for IPv4", () => {
  for (const trusted of ["::ffff:10.0.0.0/104", "::ffff:10.0.0.1", "10.0.0.1"]) {
    for (const hostname of ["10.0.0.1", "::ffff:10.0.0.1", "::ffff:a00:1"]) {
      assertEquals(addressOf(peer(hostname), "198.51.100.7", trusted), "198.51.100.7", `${trusted} ${hostname}`);
    }
    assertEquals(addressOf(peer("11.0.0.1"), "198.51.100.7", trusted), "11.0.0.1");
  }
  // A block of one family has none of the other.
  assertEquals(addressOf(peer("::1"), "198.51.100.7", "0.0.0.0/0"), "::1");
  assertEquals(addressOf(peer("10.0.0.1"), "198.51.100.7", "2000::/3"), "10.0.0.1");
});

Deno.test("clientIdentity() throws for no X-Forwarded-For", () => {
  const pieces = [
    "10.0.0.1",
    "::1",
    "[",
    "]",
    ":",
    ",",
    " ",
    "%",
    ".",
    "ffff",
    "/",
    "8",
    "\xff",
    "fe80::%",
    "@",
    "0x7f.1",
  ];
  const next = random(7);
  const ofAddress = clientIdentity({ label: "address", trustedProxies: parseSubnets("0.0.0.0/0,::/0") ?? [] });
  for (let count = 0; count < 5000; count++) {
    const text = Array.from({ length: 1 + next() * 8 }, () => pieces[Math.floor(next() * pieces.length)]).join("");
    const client = ofAddress({ get: () => text }, peer("10.9.9.9"));
    assertEquals(/^[\d.]+$|^[\da-f:]+$/.test(client), true, JSON.stringify(text));
  }
});

Deno.test("clientIdentity() names the client of a key, and no other", async () => {
  using folder = new TemporaryFolder();
  const hash = "099295a3784e1bd368dc348843a7398c1931b6b8ec2504c73e91ed2040bdc46c";
  const keys = await ClientKeys.open({ path: folder.write("keys", `${hash} Alice`), onReload: () => {} });
  const identity = clientIdentity({ label: "api-key", trustedProxies: [], keys });
  const nameOf = (key: string): string => identity(new Headers({ authorization: key }), peer("127.0.0.1"));
  assertEquals([nameOf("Bearer sk-alice"), nameOf("Bearer sk-bob")], ["Alice", UNKNOWN_CLIENT]);
  assertEquals(clientOf("api-key", { authorization: "Bearer sk-alice" }), UNKNOWN_CLIENT);
});
