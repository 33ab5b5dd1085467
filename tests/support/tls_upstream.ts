/**
 * A TLS server in front of another server, with a certificate of a private CA.
 *
 * @module
 */

import { SIGNED } from "./certificates.ts";

/** The server. It is closed at the end of its block. */
export class TlsUpstream implements AsyncDisposable {
  /** `https://127.0.0.1:PORT`. */
  readonly url: string;
  /** Protocol that each connection has agreed on, in order; `null` if the client offered none. */
  readonly protocols: (string | null)[] = [];
  readonly #listener: Deno.TlsListener;
  readonly #connections = new Set<Deno.TlsConn | Deno.TcpConn>();
  readonly #ended: Promise<void>;

  /** @param target URL of the server that gets the decrypted bytes. */
  constructor(target: { url: string }) {
    const { cert, key } = SIGNED;
    const address = { hostname: "127.0.0.1", port: 0 };
    this.#listener = Deno.listenTls({ ...address, cert, key, alpnProtocols: ["h2", "http/1.1"] });
    this.url = `https://127.0.0.1:${this.#listener.addr.port}`;
    this.#ended = this.#accept(Number(new URL(target.url).port));
  }

  async #accept(port: number): Promise<void> {
    const open: Promise<void>[] = [];
    while (true) {
      const client = await this.#listener.accept().catch(() => undefined);
      if (client === undefined) break;
      open.push(this.#forward(client, port));
    }
    await Promise.all(open);
  }

  async #forward(client: Deno.TlsConn, port: number): Promise<void> {
    this.#connections.add(client);
    try {
      this.protocols.push((await client.handshake()).alpnProtocol);
      const server = await Deno.connect({ hostname: "127.0.0.1", port });
      this.#connections.add(server);
      const ways = [client.readable.pipeTo(server.writable), server.readable.pipeTo(client.writable)];
      await Promise.race(ways).catch(() => {});
      for (const connection of [client, server]) this.#close(connection);
      await Promise.allSettled(ways);
    } catch {
      // The client has rejected the certificate.
      this.#close(client);
    }
  }

  #close(connection: Deno.TlsConn | Deno.TcpConn): void {
    if (!this.#connections.delete(connection)) return;
    try {
      connection.close();
    } catch {
      // The pipe has closed it.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#connections) this.#close(connection);
    await this.#ended;
  }
}
