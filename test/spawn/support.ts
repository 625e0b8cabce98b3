/**
 * What the tests of spawners share: requests to spawn, notes taken, and sessions in their raw form.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

import { libc } from "../../src/native/libc.ts";
import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { Decoder } from "../../src/wire/decoder.ts";
import { type Header } from "../../src/wire/session-headers.ts";
import { ascii, fromText, type ByteString } from "../../src/wire/bytes.ts";
import type { Instance, Notify, SpawnRequest } from "../../src/spawn/spawner.ts";
import { SpawnFailedError } from "../../src/spawn/spawner.ts";
import { readToEnd, sendAll } from "../helpers/raw-client.ts";
import { encodeSessionHeaders } from "../helpers/peer-messages.ts";

/** Writes an application's files into a directory of its own below `parent`. @returns its root. */
export function writeApp(
  parent: string,
  name: string,
  files: Readonly<Record<string, string>>,
): string {
  const root = `${parent}/${name}`;
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(`${root}/${file}`), { recursive: true });
    writeFileSync(`${root}/${file}`, text);
  }
  return root;
}

/** A request to spawn with everything but the root at its most ordinary. */
export function spawnRequest(
  root: string,
  changed: Partial<Omit<SpawnRequest, "root">> = {},
): SpawnRequest {
  return {
    root: fromText(root),
    lowerPrivilege: false,
    lowestUser: ascii("nobody"),
    environment: ascii("production"),
    spawnMethod: "smart",
    appType: "rack",
    timeoutMs: 20_000,
    ...changed,
  };
}

/** A Notify that keeps what it is told, and what it was told. */
export function notebook(): { notify: Notify; notes: string[] } {
  const notes: string[] = [];
  const notify: Notify = (_level, event, fields) => {
    const said = Object.entries(fields ?? {}).map(([name, value]) => ` ${name}=${value}`);
    notes.push(event + said.join(""));
  };
  return { notify, notes };
}

/** The SpawnFailedError with which a spawn fails. */
export async function failureOf(spawn: Promise<Instance>): Promise<SpawnFailedError> {
  try {
    const instance = await spawn;
    instance.release();
  } catch (error) {
    if (error instanceof SpawnFailedError) return error;
    throw error;
  }
  throw new Error("the spawn succeeded");
}

/** The page of a SpawnFailedError as text. */
export function pageOf(error: SpawnFailedError): string {
  return Buffer.from(error.page ?? new Uint8Array(0)).toString("utf8");
}

/** Sends bytes on a new session, ends our side of it and reads to the end of the other. */
export async function exchange(
  instance: Pick<Instance, "connect">,
  bytes: Uint8Array,
): Promise<string> {
  using session = connected(instance);
  await sendAll(session.number, bytes);
  endWriting(session.number);
  return await readToEnd(session.number);
}

/** Ends our side of a connection. */
export function endWriting(fd: number): void {
  libc.shutdown(fd, 1); // SHUT_WR
}

/** A new session. @throws Error when the backlog is full. */
export function connected(instance: Pick<Instance, "connect">): OwnedFd {
  const session = instance.connect();
  if (session === "full") throw new Error("the backlog is full");
  return session;
}

/** A request's head as on the wire. */
export function head(variables: Readonly<Record<string, string>>): Uint8Array {
  return encodeSessionHeaders(
    Object.entries(variables).map(([name, value]): Header => [ascii(name), ascii(value)]),
  );
}

/** An ordinary GET, with some variables added or replaced. */
export function get(variables: Readonly<Record<string, string>> = {}): Uint8Array {
  return head({
    REQUEST_METHOD: "GET",
    REQUEST_URI: "/",
    SERVER_NAME: "example.com",
    SERVER_PORT: "80",
    SERVER_PROTOCOL: "HTTP/1.1",
    ...variables,
  });
}

/** A POST with a body and its length. */
export function post(body: string, variables: Readonly<Record<string, string>> = {}): Uint8Array {
  const length = String(Buffer.byteLength(body, "latin1"));
  const start = get({ REQUEST_METHOD: "POST", CONTENT_LENGTH: length, ...variables });
  return Buffer.concat([start, Buffer.from(body, "latin1")]);
}

/** What of a POST's length and type front ends may send: one form of the names, or both. */
export const contentForms: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  ["CONTENT_*", { CONTENT_LENGTH: "2", CONTENT_TYPE: "a/b" }],
  ["HTTP_CONTENT_*", { CONTENT_LENGTH: "", HTTP_CONTENT_LENGTH: "2", HTTP_CONTENT_TYPE: "a/b" }],
  [
    "both forms",
    {
      HTTP_CONTENT_TYPE: "a/b",
      HTTP_CONTENT_LENGTH: "2",
      CONTENT_TYPE: "a/b",
      CONTENT_LENGTH: "2",
    },
  ],
];

/** Status, headers in their order, and body of an answer in CGI form. */
export function parseAnswer(text: string): {
  status: string;
  headers: string[];
  body: string;
} {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) throw new Error(`no head in the answer ${JSON.stringify(text.slice(0, 200))}`);
  const [status = "", ...headers] = text.slice(0, end).split("\r\n");
  return { status, headers, body: text.slice(end + 4) };
}

/** The elements of array messages, one after the other. */
export function arrays(bytes: Uint8Array): ByteString[][] {
  const decoder = new Decoder();
  decoder.push(bytes);
  const found: ByteString[][] = [];
  for (let next = decoder.nextArray(); next !== undefined; next = decoder.nextArray()) {
    found.push(next);
  }
  return found;
}

const asOthers = { HTTP_CONTENT_LENGTH: "4", HTTP_CONTENT_TYPE: "text/x" };
const asCgi = { CONTENT_LENGTH: "4", CONTENT_TYPE: "text/x" };

/** How front ends name the length and type of a body of 4 bytes, `text/x`. */
export const bodyNames: [string, Readonly<Record<string, string>>][] = [
  ["as those of other headers", asOthers],
  ["as CGI has them", asCgi],
  ["both ways", { ...asOthers, ...asCgi }],
  ["both ways, one empty", { ...asOthers, CONTENT_LENGTH: "", CONTENT_TYPE: "" }],
];

/** 300,000 bytes, each value among them, as latin1, and their SHA-256. */
export function manyBytes(): { bytes: string; digest: string } {
  const bytes = Buffer.alloc(300_000);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = (at * 31 + (at >> 8)) & 0xff;
  const digest = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
  return { bytes: bytes.toString("latin1"), digest };
}
