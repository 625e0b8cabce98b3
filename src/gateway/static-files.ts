/**
 * Files of an application's `public/`, sent without asking it. What is no plain file that the
 * gateway's user may read is left to the application. The descriptor that was checked is the one
 * that is sent: nobody can exchange the file in between.
 */
import { closeSync, fstatSync, readSync, type Stats } from "node:fs";

import type { OwnedFd } from "../native/owned-fd.ts";
import type { ByteString } from "../wire/bytes.ts";
import { acceptedCodings, type Coding } from "./accept-encoding.ts";
import { preconditions, rangeOf, type ByteRange, type Validators } from "./conditions.ts";
import type { AppConfig } from "./config.ts";
import { mediaTypeOf, type MediaType } from "./media-types.ts";
import { PublicDirectory } from "./public-directory.ts";
import { fileNames } from "./static-path.ts";

/** Up to this size a file is read at once: cheaper than having Bun open it again. */
const maxReadBytes = 64 * 1024;

export interface StaticAnswer {
  readonly response: Response;
  /** Of its body. */
  readonly bytes: number;
}

interface PlainFile {
  readonly file: OwnedFd;
  readonly size: number;
  readonly validators: Validators;
  readonly coding: Coding | undefined;
}

interface Lookup {
  readonly request: Request;
  readonly directory: PublicDirectory;
  readonly name: ByteString;
  readonly nowMs: number;
}

export class StaticFiles {
  readonly #directories = new Map<string, PublicDirectory>();

  /**
   * The answer to GET or HEAD; undefined: the application is to be asked. Must be returned to Bun
   * in the same turn of the event loop.
   * @param path of the request, not decoded, below the application's prefix.
   */
  answer(app: AppConfig, request: Request, path: string, nowMs: number): StaticAnswer | undefined {
    const directory = this.#directoryOf(app);
    for (const name of fileNames(path, app.prefix)) {
      const plain = openPlain(directory, name, nowMs, undefined);
      if (plain === undefined) continue;
      const type = mediaTypeOf(name);
      return send(request, preferred({ request, directory, name, nowMs }, plain, type), type);
    }
    return undefined;
  }

  /** Closes the directories; they are opened again when needed. */
  close(): void {
    for (const directory of this.#directories.values()) directory.close();
  }

  #directoryOf({ root }: AppConfig): PublicDirectory {
    const known = this.#directories.get(root);
    if (known !== undefined) return known;
    const directory = new PublicDirectory(root);
    this.#directories.set(root, directory);
    return directory;
  }
}

function openPlain(
  directory: PublicDirectory,
  name: ByteString,
  nowMs: number,
  coding: Coding | undefined,
): PlainFile | undefined {
  const file = directory.open(name, nowMs);
  if (file === undefined) return undefined;
  const stats = fstatSync(file.number);
  if (!stats.isFile() || !mayBeSent(stats)) {
    file.close();
    return undefined;
  }
  return { file, size: stats.size, validators: validatorsOf(stats, coding), coding };
}

/** Root can read everything: then only what everybody may read is for visitors. */
function mayBeSent({ mode }: Stats): boolean {
  return (mode & 0o004) !== 0 || process.geteuid?.() !== 0;
}

/** Two states of a file differ in length or in the time of change, which has microseconds here. */
function validatorsOf({ size, mtimeMs }: Stats, coding: Coding | undefined): Validators {
  const time = Math.round(mtimeMs * 1000).toString(16);
  const suffix = coding === undefined ? "" : `-${coding.name}`;
  return {
    etag: `"${time}-${size.toString(16)}${suffix}"`,
    modifiedSeconds: Math.floor(mtimeMs / 1000),
  };
}

/** The compressed file beside it, if there is one the visitor takes. */
function preferred(lookup: Lookup, plain: PlainFile, type: MediaType): PlainFile {
  if (!type.compressible) return plain;
  const { request, directory, name, nowMs } = lookup;
  try {
    for (const coding of acceptedCodings(request.headers.get("accept-encoding"))) {
      const sibling = `${name}${coding.extension}` as ByteString;
      const compressed = openPlain(directory, sibling, nowMs, coding);
      if (compressed === undefined) continue;
      plain.file.close();
      return compressed;
    }
  } catch (error) {
    plain.file.close();
    throw error;
  }
  return plain;
}

/** Takes the file over. */
function send(request: Request, plain: PlainFile, type: MediaType): StaticAnswer {
  const { file, size, validators } = plain;
  const headers = headersOf(plain, type);
  const outcome = preconditions(request.headers, validators);
  if (outcome !== "send") {
    file.close();
    return { response: new Response(null, { status: outcome, headers }), bytes: 0 };
  }
  headers.set("Content-Type", type.name);
  headers.set("Accept-Ranges", "bytes");
  const isHead = request.method === "HEAD";
  const range = isHead ? undefined : rangeOf(request.headers, validators, size);
  if (range === "unsatisfiable") {
    file.close();
    headers.set("Content-Range", `bytes */${size}`);
    headers.delete("Content-Type");
    headers.delete("Content-Encoding");
    return { response: new Response(null, { status: 416, headers }), bytes: 0 };
  }
  if (isHead) {
    file.close();
    headers.set("Content-Length", String(size));
    return { response: new Response(null, { headers }), bytes: 0 };
  }
  return sendBody(request, plain, range, headers);
}

function headersOf({ validators, coding }: PlainFile, type: MediaType): Headers {
  const headers = new Headers({
    ETag: validators.etag,
    "Last-Modified": new Date(validators.modifiedSeconds * 1000).toUTCString(),
    "X-Content-Type-Options": "nosniff",
  });
  if (coding !== undefined) headers.set("Content-Encoding", coding.name);
  if (type.compressible) headers.set("Vary", "Accept-Encoding");
  return headers;
}

function sendBody(
  request: Request,
  { file, size }: PlainFile,
  range: ByteRange | undefined,
  headers: Headers,
): StaticAnswer {
  const { start, end } = range ?? { start: 0, end: size - 1 };
  const bytes = end - start + 1;
  const status = range === undefined ? 200 : 206;
  // Bun cuts files to a range by itself, also where we have decided against it; not so when there
  // is a Content-Range, which says nothing in an answer with status 200.
  if (range !== undefined || (request.headers.has("range") && size > maxReadBytes)) {
    headers.set("Content-Range", `bytes ${start}-${end}/${size}`);
  }
  if (bytes <= maxReadBytes) {
    using held = file;
    const body = readBytes(held.number, start, bytes);
    return { response: new Response(body, { status, headers }), bytes: body.length };
  }
  // Bun would offer it under the name of a descriptor otherwise.
  headers.set("Content-Disposition", "inline");
  const opened = Bun.file(lentPath(file));
  const body = range === undefined ? opened : opened.slice(start, end + 1);
  return { response: new Response(body, { status, headers }), bytes };
}

/** Less than wanted if the file has become shorter. */
function readBytes(fd: number, start: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  while (filled < length) {
    const read = readSync(fd, bytes, filled, length - filled, start + filled);
    if (read === 0) break;
    filled += read;
  }
  return bytes.subarray(0, filled);
}

/**
 * A path that Bun opens when it begins the answer, in this turn of the event loop, and that means
 * the file whatever becomes of its name. Closes our descriptor after that turn.
 */
function lentPath(file: OwnedFd): string {
  const fd = file.take();
  setImmediate(() => closeSync(fd));
  return `/proc/self/fd/${fd}`;
}
