/** The configurations of docs/deployment.md for reverse proxies in front of the program. */

import { assertEquals, assertStringIncludes, fail } from "@std/assert";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { Process, testWith } from "../support/deployment.ts";
import { holdStreams } from "../support/held_streams.ts";
import { CHAT, Gate, Scrape, until } from "../support/helpers.ts";
import { codeBlocks, PAGES } from "../support/pages.ts";
import { Program } from "../support/program.ts";
import { RawClient } from "../support/raw_client.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const PAGE = "docs/deployment.md";
/** The host name of the examples. */
const HOST = "ollama.example.com";

/** Returns the example for a reverse proxy, with another address of the exporter. */
function exampleOf(language: string, exporterPort: number): string {
  const block = codeBlocks(PAGE, PAGES.get(PAGE) ?? "").find((block) => block.language === language);
  return block?.text.replace("127.0.0.1:8000", `127.0.0.1:${exporterPort}`) ?? fail(`${PAGE} has no ${language}`);
}

/** A reverse proxy: how it is started, with a free port in place of that of the example. */
interface ReverseProxy {
  readonly program: "nginx" | "caddy";
  readonly start: (folder: TemporaryFolder, port: number, exporterPort: number) => Process;
}

const PROXIES: readonly ReverseProxy[] = [
  {
    program: "nginx",
    start: (folder, port, exporterPort) => {
      const server = exampleOf("nginx", exporterPort).replace("listen 80;", `listen 127.0.0.1:${port};`);
      const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map((name) => `${name}_temp_path ${folder.path}/${name};`).join(" ");
      const config = folder.write(
        "nginx.conf",
        `daemon off; master_process off; pid ${folder.path}/pid; error_log stderr info;
         events {} http { access_log off; ${temporary} ${server} }`,
      );
      return new Process("nginx", ["-e", "stderr", "-c", config, "-p", folder.path], { env: PATH });
    },
  },
  {
    program: "caddy",
    start: (folder, port, exporterPort) => {
      const site = exampleOf("caddy", exporterPort).replace(HOST, `http://${HOST}:${port}`);
      const config = folder.write("Caddyfile", `{\n  admin off\n}\n${site}`);
      const env = { ...PATH, HOME: folder.path };
      return new Process("caddy", ["run", "--adapter", "caddyfile", "--config", config], { env });
    },
  },
];

const PATH = { PATH: Deno.env.get("PATH") ?? "" };

/** Connects as soon as the reverse proxy listens. */
async function connect(port: number): Promise<RawClient> {
  let client: RawClient | undefined;
  await until(async () => {
    client = await RawClient.connect(port).catch(() => undefined);
    return client !== undefined;
  }, "the reverse proxy listens");
  return client ?? fail();
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

for (const { program, start } of PROXIES) {
  testWith(
    [program],
    `Behind ${program}, configured as documented, tokens arrive one by one, and a disconnect reaches Ollama`,
    async () => {
      await using fake = await startFakeOllama();
      using gate = new Gate();
      holdStreams(fake, gate);
      // The settings that the page gives for its examples.
      const variables = { OLLAMA_HOST: fake.url, METRICS_LISTEN_ADDRESS: "127.0.0.1:0", ALLOWED_HOSTS: HOST };
      await using exporter = new Program({ variables });
      const exporterPort = await exporter.port();
      const metricsPort = await exporter.metricsPort();
      using folder = new TemporaryFolder();
      const port = freePort();
      await using _proxy = start(folder, port, exporterPort);
      const headers = [`Host: ${HOST}`, "Origin: http://ollama.example.com"];
      {
        using client = await connect(port);
        await client.request("POST /api/chat", headers, JSON.stringify(CHAT));
        // Ollama holds the rest of the response back.
        await client.sees("begin");
        gate.open();
        await client.sees("end");
      }
      assertEquals(fake.lastRequest().headers("x-forwarded-for").length, 1);
      assertStringIncludes(fake.lastRequest().header("x-forwarded-for") ?? "", "127.0.0.1");
      using closed = new Gate();
      holdStreams(fake, closed);
      const client = await connect(port);
      await client.request("POST /api/generate", headers, JSON.stringify(CHAT));
      await client.sees("begin");
      client.close();
      await fake.waitForAbort(await fake.waitForRequest(({ path }) => path === "/api/generate"));
      const outcomes = async (outcome: string): Promise<number | undefined> =>
        new Scrape(await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text())
          .value("ollama_request_outcomes_total", { outcome });
      await until(async () => await outcomes("client_closed") === 1, "the disconnect is counted");
    },
  );
}
