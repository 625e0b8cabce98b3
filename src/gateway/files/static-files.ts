/**
 * Files of an application's `public/` and other places, sent without asking it. What is no plain
 * file that the gateway's user may read is left to the application. The descriptor that was checked
 * is the one that is sent: nobody can exchange the file in between.
 */
import { fstatSync, readSync, type Stats } from "node:fs";

import { mayFilesHang } from "../../native/mounts.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { fromText, type ByteString } from "../../wire/bytes.ts";
import { acceptedCodings, type Coding } from "./accept-encoding.ts";
import type { RequestFields, Validators } from "./conditions.ts";
import type { AppConfig, FilePlace } from "../config.ts";
import { answerWith, type FileFacts } from "./file-answer.ts";
import type { FilePart } from "./file-sender.ts";
import { FileProbes } from "./file-probes.ts";
import { mediaTypeOf, type MediaType } from "./media-types.ts";
import { PublicDirectory } from "./public-directory.ts";
import type { MayEnter } from "./public-opening.ts";
import { endOfPrefix, type Route } from "../policy/router.ts";
import { fileNames } from "./static-path.ts";

/** Up to this size a body is read at once: it goes out in one write with its head. */
const maxReadBytes = 64 * 1024;

export interface FileRequest {
  readonly method: string;
  readonly headers: RequestFields;
}

export interface FileAnswer {
  readonly status: number;
  /** Header lines, each with its line end; Content-Length among them, Date not. */
  readonly lines: string;
  /** The bytes, or the part of a file that is now the caller's to send and to close. */
  readonly body: Uint8Array | FilePart | undefined;
}

interface PlainFile extends FileFacts {
  readonly file: OwnedFd;
}

interface Lookup {
  readonly request: FileRequest;
  readonly directory: PublicDirectory;
  readonly name: ByteString;
  readonly nowMs: number;
  readonly mayEnter: MayEnter;
}

export class StaticFiles {
  readonly #probes = new FileProbes();
  readonly #directories = new Map<FilePlace, PublicDirectory>();

  /**
   * Calls `go` as soon as `answer` would not wait for a file system: nearly always at once.
   * @param request whether it can wait. @param go is told false: the files do not answer.
   */
  whenReady(
    { app, below }: Pick<Route, "app" | "below">,
    request: { readonly method: string; readonly canWait: boolean },
    go: (isReady: boolean) => void,
  ): void {
    if (!mayFilesHang()) return go(true);
    const isRead = request.method === "GET" || request.method === "HEAD";
    const at = isRead ? placeOf(app, below) : undefined;
    const [name] = at === undefined ? [] : fileNames(at.rest);
    const ready =
      at === undefined ||
      name === undefined ||
      this.#probes.ready(at.place, name, performance.now());
    if (ready === true) return go(true);
    if (!request.canWait) return go(false);
    void ready.then(go);
  }

  /**
   * The answer to GET or HEAD; undefined: the application is to be asked.
   * @param below the rest of the request's path behind the application's prefix, not decoded.
   * @throws SyscallError, Error when the file cannot be had for a reason of ours.
   */
  answer(
    app: AppConfig,
    request: FileRequest,
    below: string,
    nowMs: number,
  ): FileAnswer | undefined {
    const at = placeOf(app, below);
    if (at === undefined) return undefined;
    const directory = this.#directoryOf(at.place);
    const mayEnter = this.#probes.mayEnter(at.place);
    for (const name of fileNames(at.rest)) {
      const lookup = { request, directory, name, nowMs, mayEnter };
      const plain = openPlain(lookup, name, undefined);
      if (plain === undefined) continue;
      const type = mediaTypeOf(name);
      return compose(request, preferred(lookup, plain, type), type);
    }
    return undefined;
  }

  /** Closes the directories; they are opened again when needed. */
  close(): void {
    for (const directory of this.#directories.values()) directory.close();
  }

  #directoryOf(place: FilePlace): PublicDirectory {
    const known = this.#directories.get(place);
    if (known !== undefined) return known;
    const directory = new PublicDirectory(place);
    this.#directories.set(place, directory);
    return directory;
  }
}

/** Where a path's files are: the longest path that holds it. @returns and the rest behind that. */
function placeOf(
  { files }: AppConfig,
  below: string,
): { readonly place: FilePlace; readonly rest: string } | undefined {
  if (below === "*") return undefined;
  for (const place of files) {
    if (place.path === "/") return { place, rest: below };
    const end = endOfPrefix(below, fromText(place.path));
    if (end !== undefined) return { place, rest: below.slice(end) };
  }
  return undefined;
}

function openPlain(
  { directory, nowMs, mayEnter }: Lookup,
  name: ByteString,
  coding: Coding | undefined,
): PlainFile | undefined {
  const file = directory.open(name, nowMs, mayEnter);
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
  const { request, name } = lookup;
  try {
    for (const coding of acceptedCodings(request.headers.get("accept-encoding"))) {
      const sibling = `${name}${coding.extension}` as ByteString;
      const compressed = openPlain(lookup, sibling, coding);
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
function compose(request: FileRequest, plain: PlainFile, type: MediaType): FileAnswer {
  const { file } = plain;
  const isHead = request.method === "HEAD";
  const { status, lines, part } = answerWith(plain, type, request.headers, isHead);
  if (part === undefined) {
    file.close();
    return { status, lines, body: undefined };
  }
  const { start, end } = part;
  const length = end - start + 1;
  if (length > maxReadBytes) return { status, lines, body: { fd: file, offset: start, length } };
  using held = file;
  return { status, lines, body: readWhole(held.number, start, length) };
}

/** @throws Error when the file has become shorter. */
function readWhole(fd: number, start: number, length: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(length);
  for (let filled = 0; filled < length;) {
    const read = readSync(fd, bytes, filled, length - filled, start + filled);
    if (read === 0) throw new Error("read a static file: it has become shorter");
    filled += read;
  }
  return bytes;
}
