/**
 * One place of files, such as the `public/` of an application, and what is known of it for a
 * moment: its descriptor, and names that are not there. Almost every request asks for such a name,
 * and none should pay for it twice in a row; a new release, or a page that appears, is seen when
 * the moment is over.
 */
import type { OwnedFd } from "../../native/owned-fd.ts";
import type { ByteString } from "../../wire/bytes.ts";
import type { FilePlace } from "../config.ts";
import { openPlace, openPublicFile, type MayEnter } from "./public-opening.ts";

/** Long enough to answer thousands of requests, too short to notice. */
const momentMs = 200;
const maxAbsent = 1000;

export class PublicDirectory {
  readonly #place: FilePlace;
  readonly #absent = new Set<ByteString>();
  #directory: OwnedFd | undefined;
  #untilMs = Number.NEGATIVE_INFINITY;

  constructor(place: FilePlace) {
    this.#place = place;
  }

  /**
   * Opens a file for reading; what it is must be asked then. Undefined: nothing there for us.
   * @param name relative to the place. @param mayEnter as openPublicFile.
   * @throws SyscallError when descriptors are short.
   */
  open(name: ByteString, nowMs: number, mayEnter: MayEnter): OwnedFd | undefined {
    if (nowMs >= this.#untilMs) this.#look(nowMs, mayEnter);
    if (this.#directory === undefined || this.#absent.has(name)) return undefined;
    const file = openPublicFile(this.#directory.number, this.#place, name, mayEnter);
    if (file === undefined && this.#absent.size < maxAbsent) this.#absent.add(name);
    return file;
  }

  close(): void {
    this.#directory?.close();
    this.#directory = undefined;
    this.#untilMs = Number.NEGATIVE_INFINITY;
  }

  #look(nowMs: number, mayEnter: MayEnter): void {
    this.close();
    this.#absent.clear();
    this.#directory = openPlace(this.#place, mayEnter);
    this.#untilMs = nowMs + momentMs;
  }
}
