/**
 * The certificates of a worker, and which of them a visitor is shown: by the server name that its
 * greeting has (RFC 6066 section 3), an exact name before `*.example.com`, which is one label; the
 * first of all where it has none, or one that no certificate is for.
 *
 * TLS 1.2 and 1.3, the server's order of ciphers, `http/1.1` as the only protocol (RFC 7301: who
 * offers others alone is refused), tickets for visitors that come back to the same worker.
 */
import { createServer } from "node:tls";
import type { SocketListener, TLSOptions } from "bun";

import type { CertificateConfig, TlsConfig } from "../config.ts";

/** The protocol in its wire form, a length and a name: given as text, it fails every handshake. */
const protocols = Buffer.from("\x08http/1.1", "latin1");
/** SSL_OP_CIPHER_SERVER_PREFERENCE (openssl/ssl.h). */
const serverPreference = 0x0040_0000;
/** TLS1_2_VERSION: 1.0 and 1.1 are not to be used (RFC 8996). */
const tls12 = 0x0303;
/** For TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 section 4.2). */
const ciphers = [
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");
const settings = { ALPNProtocols: protocols, secureOptions: serverPreference, ciphers };

export class Certificates {
  readonly #first: CertificateConfig;
  readonly #all: readonly CertificateConfig[];

  constructor(tls: TlsConfig | undefined) {
    const { certificates = [] } = tls ?? {};
    const [first] = certificates;
    if (first === undefined) throw new Error("an address with TLS, but no certificate");
    this.#first = first;
    this.#all = certificates;
  }

  /** `tls` for Bun.listen; the listener is to be given to `chooseOn`. */
  get options(): TLSOptions {
    const { certificate: cert, key } = this.#first;
    return { cert, key, ...settings, minVersion: tls12 } as TLSOptions;
  }

  /**
   * Has a listener of Bun.listen choose by name. Bun offers that for servers of node:tls only,
   * whose `addContext` tells the listener that the server is on; so one that never listens is put
   * there. test/gateway/tls-names.test.ts holds it to the names.
   */
  chooseOn(listener: SocketListener<unknown>): void {
    const server = Object.assign(createServer(), { _handle: listener });
    for (const { hosts, certificate: cert, key } of this.#all) {
      for (const host of hosts) {
        server.addContext(host, { cert, key, ...settings, minVersion: "TLSv1.2" } as object);
      }
    }
  }
}
