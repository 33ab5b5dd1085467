/**
 * Clients in Node.js that use the exporter by a DNS name of the operator. Node's `fetch` sends `Sec-Fetch-Mode`, as
 * browsers do.
 */

import { assert, assertEquals } from "@std/assert";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { run, testWith } from "../support/deployment.ts";
import { REPOSITORY } from "../support/fixtures.ts";
import { Program } from "../support/program.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const FOLDER = new URL("tests/program/sdk/", REPOSITORY);
const HOST = "gpu.example.com";

/** Copies the script, with the packages that it imports, into a folder where Node.js finds them. */
async function installClients(folder: TemporaryFolder): Promise<string> {
  const read = (name: string): string => Deno.readTextFileSync(new URL(name, FOLDER));
  folder.write("deno.json", JSON.stringify({ ...JSON.parse(read("deno.json")), nodeModulesDir: "auto" }));
  folder.write("deno.lock", read("deno.lock"));
  folder.write("dns_name.mjs", read("dns_name.mjs"));
  const { code, stderr } = await run(Deno.execPath(), ["install", "--quiet"], { cwd: folder.path });
  assertEquals(code, 0, stderr);
  return `${folder.path}/dns_name.mjs`;
}

/** Listen address, `ALLOWED_HOSTS`, and the status of every call. */
const CASES: [listen: string, allowed: string, status: number][] = [
  ["0.0.0.0:0", "", 200],
  ["127.0.0.1:0", "", 403],
  ["127.0.0.1:0", "*.example.com", 200],
];

testWith(
  ["node"],
  "main serves Node's fetch, ollama-js and openai-node by a DNS name, but not on loopback",
  async () => {
    using folder = new TemporaryFolder();
    const script = await installClients(folder);
    for (const [listen, allowed, status] of CASES) {
      await using fake = await startFakeOllama();
      const variables = { OLLAMA_HOST: fake.url, LISTEN_ADDRESS: listen, ALLOWED_HOSTS: allowed };
      await using program = new Program({ variables });
      const port = await program.port();
      const { stdout, stderr } = await run("node", [script, `http://${HOST}:${port}`]);
      // ollama-js writes to standard output, too.
      const lines = stdout.split("\n").filter((line) => line.startsWith("["));
      const statuses = lines.map((line) => JSON.parse(line) as [string, unknown]);
      assertEquals(statuses.length, 7, stderr);
      for (const [call, found] of statuses) assertEquals(found, status, `${call} on ${listen}`);
      const forwarded = fake.requests.filter((request) => request.header("sec-fetch-mode") === "cors");
      assertEquals(forwarded.length, status === 200 ? 6 : 0);
      if (status === 200) continue;
      const line = await program.line("reason=host_not_allowed");
      assert(line.includes('level=WARN msg="Refused request"') && line.includes(`host=${HOST}:${port} `), line);
    }
  },
);
