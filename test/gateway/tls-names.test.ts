/** Certificates by name on a listener of Bun.listen, as openssl's client sees them. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { TlsConfig } from "../../src/gateway/config.ts";
import { Certificates } from "../../src/gateway/worker/tls.ts";
import { askWithTls, certificateOf, makeCertificate } from "../helpers/certificates.ts";

const versions = ["-tls1_2", "-tls1_3"];
let directory = "";
let port = 0;
let stop = (): void => {};

function configOf(certificates: readonly (readonly [name: string, hosts: string[]])[]): TlsConfig {
  return {
    redirectPort: undefined,
    strictTransport: undefined,
    certificates: certificates.map(([name, hosts]) => certificateOf(directory, name, hosts)),
  };
}

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "pool-"));
  for (const name of ["first", "exact", "wild"]) makeCertificate(directory, name);
  const certificates = new Certificates(
    configOf([
      ["first", ["first.example"]],
      ["wild", ["*.shop.example"]],
      ["exact", ["exact.shop.example", "other.example"]],
    ]),
  );
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    tls: certificates.options,
    socket: {
      data: (socket) => void socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    },
  });
  certificates.chooseOn(listener);
  port = listener.port;
  stop = () => listener.stop(true);
});

afterAll(() => {
  stop();
  rmSync(directory, { recursive: true });
});

const names: [host: string, shown: string][] = [
  ["first.example", "first"],
  ["exact.shop.example", "exact"],
  ["EXACT.Shop.Example", "exact"],
  ["a.shop.example", "wild"],
  ["a.b.shop.example", "first"],
  ["shop.example", "first"],
  ["other.example", "exact"],
  ["unknown.example", "first"],
  ["", "first"],
];

for (const version of versions) {
  test(`${version}: the certificate of the host, or the first`, async () => {
    for (const [host, name] of names) {
      const shown = await askWithTls(port, host, [version, "-alpn", "h2,http/1.1"]);
      expect({ host, ...shown }).toMatchObject({ host, name, alpn: "http/1.1" });
      expect(shown.answer).toContain("ok");
    }
  });

  test(`${version}: who comes back with a ticket is known, for every certificate`, async () => {
    const session = join(directory, "session");
    for (const host of ["first.example", "a.shop.example"]) {
      const first = await askWithTls(port, host, [version, "-sess_out", session]);
      expect(first).toMatchObject({ reused: false });
      const again = await askWithTls(port, host, [version, "-sess_in", session]);
      expect(again).toMatchObject({ reused: true, name: first.name });
    }
  });

  test(`${version}: other protocols than http/1.1 alone are refused; who names none is served`, async () => {
    for (const host of ["first.example", "a.shop.example"]) {
      const { alert } = await askWithTls(port, host, [version, "-alpn", "h2"]);
      expect(alert).toBe("no application protocol");
      expect((await askWithTls(port, host, [version])).answer).toContain("ok");
    }
  });
}

test("TLS 1.0 and 1.1 are refused, for every certificate", async () => {
  for (const version of ["-tls1", "-tls1_1"]) {
    for (const host of ["first.example", "a.shop.example"]) {
      const more = [version, "-cipher", "DEFAULT@SECLEVEL=0"];
      expect(await askWithTls(port, host, more)).toMatchObject({
        name: "",
        alert: "protocol version",
      });
    }
  }
});

test("the order of ciphers is the server's, and weak ones are refused", async () => {
  const strong = "ECDHE-ECDSA-AES128-GCM-SHA256";
  for (const host of ["first.example", "a.shop.example"]) {
    const more = ["-tls1_2", "-cipher", `ECDHE-ECDSA-AES256-GCM-SHA384:${strong}`];
    expect(await askWithTls(port, host, more)).toMatchObject({ cipher: strong });
    const weak = await askWithTls(port, host, ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"]);
    expect(weak).toMatchObject({ name: "", alert: "handshake failure" });
  }
});
