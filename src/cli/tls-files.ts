/** A certificate and its key, looked at before anything is started with them. */
import { createPrivateKey, X509Certificate } from "node:crypto";

import type { TlsConfig } from "../gateway/config.ts";
import { causeText } from "../wire/cause.ts";
import type { Problem } from "./config-table.ts";
import { readRegularFile } from "./read-file.ts";

/** A chain of certificates has some kilobytes. */
const maxFileBytes = 1024 * 1024;

/** What is wrong with them, if anything; the key is that of the file. */
export function checkTls(tls: TlsConfig): Problem | undefined {
  const certificate = attempt("certificate_file", tls.certificateFile, (text) => {
    return new X509Certificate(text);
  });
  if ("key" in certificate) return certificate;
  const key = attempt("key_file", tls.keyFile, (text) => createPrivateKey(text));
  if ("key" in key) return key;
  if (certificate.value.checkPrivateKey(key.value)) return undefined;
  return { key: "key_file", why: `'${tls.keyFile}' does not belong to the certificate` };
}

function attempt<T>(key: string, path: string, read: (text: Buffer) => T): Problem | { value: T } {
  let text: Buffer;
  try {
    text = readRegularFile(path, maxFileBytes);
  } catch (error) {
    return { key, why: `'${path}' cannot be read: ${causeText(error)}` };
  }
  try {
    return { value: read(text) };
  } catch {
    const kind = key === "key_file" ? "private key" : "certificate";
    return { key, why: `'${path}' holds no ${kind} in PEM form` };
  }
}
