/** Certificates made by openssl, and what its client is shown by a server. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import type { CertificateConfig } from "../../src/gateway/config.ts";
import { within } from "./condition.ts";

/** Makes `<name>.pem` and `<name>.key` in a directory, for hosts (none: the name alone). */
export function makeCertificate(directory: string, name: string, hosts: string[] = []): void {
  const key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
  const command = [
    ...`openssl req -x509 -nodes -days 2 -subj /CN=${name} ${key}`.split(" "),
    "-keyout",
    join(directory, `${name}.key`),
    "-out",
    join(directory, `${name}.pem`),
  ];
  const names = hosts.map((host) => `DNS:${host}`).join(",");
  if (names !== "") command.push("-addext", `subjectAltName=${names}`);
  const { success, stderr } = Bun.spawnSync(command);
  if (!success) throw new Error(stderr.toString());
}

/** One that makeCertificate has made, as the configuration has it. */
export function certificateOf(
  directory: string,
  name: string,
  hosts: readonly string[] = [],
): CertificateConfig {
  const [certificate, key] = ["pem", "key"].map((end) =>
    readFileSync(join(directory, `${name}.${end}`), "utf8"),
  ) as [string, string];
  return { hosts, certificate, key };
}

export interface Shown {
  /** The certificate's name; empty: the handshake failed. */
  readonly name: string;
  readonly protocol: string;
  readonly cipher: string;
  readonly alpn: string;
  /** Whether a ticket was taken. */
  readonly reused: boolean;
  readonly alert: string;
  /** What came back. */
  readonly answer: string;
}

/**
 * What `openssl s_client` is shown, with further arguments, for a request that closes. @param host
 * for the server name; empty: none.
 */
export async function askWithTls(port: number, host: string, more: string[] = []): Promise<Shown> {
  const name = host === "" ? ["-noservername"] : ["-servername", host];
  const child = Bun.spawn(
    ["openssl", "s_client", "-ign_eof", "-connect", `127.0.0.1:${port}`, ...name, ...more],
    {
      stdin: Buffer.from(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`),
      stdout: "pipe",
      stderr: "pipe",
    },
  );
  const [out, errors] = await within(
    "openssl's end",
    Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]),
  );
  const [, kind = "", protocol = "", cipher = ""] =
    /^(New|Reused), ([\w.()]+), Cipher is (\S+)$/m.exec(out) ?? [];
  return {
    name: /^subject=.*CN ?= ?(\S+)$/m.exec(out)?.[1] ?? "",
    protocol,
    cipher,
    alpn: /^ALPN protocol: (.*)$/m.exec(out)?.[1] ?? "",
    reused: kind === "Reused",
    alert: /alert ([a-z ]+):/.exec(errors)?.[1] ?? "",
    answer: /^HTTP\/1.1 [\s\S]*/m.exec(out)?.[0] ?? "",
  };
}
