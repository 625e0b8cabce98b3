/** The `[tls]` of a gateway's configuration; certificates are looked at before anything starts. */
import { createPrivateKey, X509Certificate } from "node:crypto";

import type { CertificateConfig, ListenAddress, TlsConfig } from "../gateway/config.ts";
import { causeText } from "../wire/cause.ts";
import type { Table } from "./config-table.ts";
import { readHosts } from "./host-names.ts";
import { readRegularFile } from "./read-file.ts";

const dayMs = 86_400_000;
/** A chain of certificates has some kilobytes. */
const maxFileBytes = 1024 * 1024;
/** All of them, for each worker is told them: some thousand. */
const maxTextBytes = 16 * 1024 * 1024;

/** Reads the table but for `listen`. @param secure the addresses with TLS. */
export function readTls(section: Table, secure: readonly ListenAddress[]): TlsConfig {
  const certificates = readCertificates(section);
  const strictTransport = readStrictTransport(section);
  const redirects = section.flag("redirect", false);
  if (secure.length === 0) {
    section.wrong("listen", "is missing: no address would be served with TLS");
  }
  // What systemd passes says its port to nobody here: the usual one.
  const [first] = secure;
  const port = first?.kind === "tcp" && first.port !== 0 ? first.port : 443;
  return { certificates, redirectPort: redirects ? port : undefined, strictTransport };
}

/** The one for all names first, if there is one, then those for some. */
function readCertificates(section: Table): CertificateConfig[] {
  const tables = section.tables("certificates");
  const hasOwn = section.has("certificate_file") || section.has("key_file") || tables.length === 0;
  const taken = new Map<string, string>();
  const certificates = [
    ...(hasOwn ? [readCertificate(section, taken)] : []),
    ...tables.map((table) => readCertificate(table, taken)),
  ];
  for (const table of tables) table.finish();
  const good = certificates.flatMap((certificate) => certificate ?? []);
  const bytes = good.reduce(
    (sum, { certificate, key }) => sum + certificate.length + key.length,
    0,
  );
  if (bytes > maxTextBytes) {
    section.wrong("certificates", `have ${bytes} bytes, ${maxTextBytes} are possible`);
  }
  return good;
}

/** @param taken hosts of the certificates before, which keep them unless both name them. */
function readCertificate(table: Table, taken: Map<string, string>): CertificateConfig | undefined {
  const [certificateFile, keyFile] = ["certificate_file", "key_file"].map((key) => {
    if (!table.has(key)) table.wrong(key, "is missing");
    return table.path(key);
  });
  const named = readHosts(table);
  for (const host of named) {
    const other = taken.get(host);
    if (other !== undefined) table.wrong("hosts", `${host}: ${other} has it too`);
    taken.set(host, table.keyOf("hosts"));
  }
  if (certificateFile === undefined || keyFile === undefined) return undefined;
  const pair = readPair(table, certificateFile, keyFile);
  if (pair === undefined) return undefined;
  const names = namesOf(new X509Certificate(pair.certificate));
  const hosts = named.length > 0 ? named : names.filter((host) => !taken.has(host));
  for (const host of hosts) if (!taken.has(host)) taken.set(host, certificateFile);
  return { hosts, ...pair };
}

/** The texts, if the key belongs to the certificate. */
function readPair(
  table: Table,
  certificateFile: string,
  keyFile: string,
): Pick<CertificateConfig, "certificate" | "key"> | undefined {
  const certificate = attempt(table, "certificate_file", certificateFile, parseCertificate);
  const key = attempt(table, "key_file", keyFile, createPrivateKey);
  if (certificate === undefined || key === undefined) return undefined;
  if (certificate.read.checkPrivateKey(key.read)) {
    return { certificate: certificate.text, key: key.text };
  }
  table.wrong("key_file", `'${keyFile}' does not belong to the certificate`);
  return undefined;
}

function parseCertificate(text: string): X509Certificate {
  return new X509Certificate(text);
}

function attempt<T>(
  table: Table,
  key: string,
  path: string,
  read: (text: string) => T,
): { text: string; read: T } | undefined {
  let text: string;
  try {
    text = readRegularFile(path, maxFileBytes).toString();
  } catch (error) {
    table.wrong(key, `'${path}' cannot be read: ${causeText(error)}`);
    return undefined;
  }
  try {
    return { text, read: read(text) };
  } catch {
    const kind = key === "key_file" ? "private key" : "certificate";
    table.wrong(key, `'${path}' holds no ${kind} in PEM form`);
    return undefined;
  }
}

/** The DNS names that a certificate says it is for (RFC 5280 section 4.2.1.6), lower case. */
function namesOf({ subjectAltName = "" }: X509Certificate): string[] {
  const names = Array.from(
    subjectAltName.matchAll(/(?:^|, )DNS:([^\s,"]+)/g),
    ([, name = ""]) => name,
  );
  return [...new Set(names.map((name) => name.toLowerCase()))];
}

function readStrictTransport(section: Table): string | undefined {
  const ms = section.time("hsts", { min: 0, max: 3650 * dayMs }, 0);
  const below = section.flag("hsts_subdomains", false);
  if (!section.has("hsts")) {
    if (below) section.wrong("hsts_subdomains", "says nothing without hsts");
    return undefined;
  }
  return `max-age=${Math.floor(ms / 1000)}${below ? "; includeSubDomains" : ""}`;
}
