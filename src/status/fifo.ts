/**
 * The status FIFO: whoever opens it for reading gets one report and EOF (PROTOCOL section 8).
 *
 * Waiting for a reader is an open(2) for writing that blocks one of Bun's file threads: exactly one
 * such wait in the process, ended by opening the read side ourselves. The FIFO is opened through an
 * O_PATH descriptor taken at start, so deleting or replacing the name changes nothing here, and the
 * name is unlinked at the end only if it is still that FIFO. After a report the write side stays
 * open until the reader has taken everything: only then is EOF the next thing it sees, and only a
 * second later is the next reader served, so that a slow one does not get two reports.
 */
import { fstatSync, promises } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

import { SyscallError } from "../native/errno.ts";
import { findBroken, identityOf, open, setNonBlocking } from "../native/fd.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { descriptorPath, unlinkSame } from "../native/pinned-socket.ts";
import { unreadBytes, writeSome } from "../native/pipe.ts";
import type { ByteString } from "../wire/bytes.ts";

/** Between reports, as in 2.0. */
const pauseMs = 1000;
/** A reader that takes nothing for this long has had its chance. */
const stalledMs = 30_000;
/** How often a reader's progress is looked at: soon at first, then seldom. */
const firstLookMs = 1;
const maxLookMs = 50;

interface StatusFifoOptions {
  readonly path: ByteString;
  /** The report's bytes, made when a reader has come. */
  readonly report: () => Uint8Array;
  readonly onError: (error: unknown) => void;
}

export class StatusFifo {
  readonly #options: StatusFifoOptions;
  readonly #name: OwnedFd;
  readonly #stopping = new AbortController();
  #done: Promise<void> | undefined;

  /** Takes hold of the FIFO. @throws Error, SyscallError when the path is none. */
  constructor(options: StatusFifoOptions) {
    this.#options = options;
    this.#name = open(options.path, "path");
    if (fstatSync(this.#name.number).isFIFO()) return;
    this.#name.close();
    throw new Error("it is not a FIFO");
  }

  /** Waits for readers from now on. */
  start(): void {
    this.#done ??= this.#serve();
  }

  /** Ends the wait and unlinks the FIFO if it is still the one found at start. Never throws. */
  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort();
    try {
      if (this.#done !== undefined) {
        // Opening the read side lets the blocked open go on; it sees that.
        using reader = open(descriptorPath(this.#name.number), "read");
        void reader;
        await this.#done;
      }
    } catch (error) {
      this.#options.onError(error);
    }
    try {
      unlinkSame(this.#options.path, identityOf(this.#name.number));
    } catch {
      // We may not: there is nothing left to do.
    }
    this.#name.close();
  }

  async #serve(): Promise<void> {
    let isFailing = false;
    while (!this.#stopping.signal.aborted) {
      try {
        const file = await promises.open(descriptorPath(this.#name.number), "w");
        try {
          if (!this.#stopping.signal.aborted) await this.#hand(file);
        } finally {
          await file.close();
        }
        isFailing = false;
      } catch (error) {
        const isReaderGone = error instanceof SyscallError && error.code === "EPIPE";
        if (!isReaderGone && !isFailing) this.#options.onError(error);
        isFailing = !isReaderGone;
      }
      await this.#sleep(pauseMs);
    }
  }

  /** Writes one report and waits until it has been read, the readers are gone, or nothing moves. */
  async #hand(file: FileHandle): Promise<void> {
    setNonBlocking(file.fd, true);
    let rest = this.#options.report();
    let lookMs = firstLookMs;
    let idleMs = 0;
    let unread = 0;
    while (!this.#stopping.signal.aborted && idleMs < stalledMs) {
      const written = rest.length > 0 ? writeSome(file.fd, rest) : 0;
      rest = rest.subarray(written);
      const before = unread;
      unread = unreadBytes(file.fd);
      if (rest.length === 0 && unread === 0) return;
      if (findBroken([file.fd]).length > 0) return;
      const moved = written > 0 || unread !== before;
      idleMs = moved ? 0 : idleMs + lookMs;
      lookMs = moved ? firstLookMs : Math.min(lookMs * 2, maxLookMs);
      await this.#sleep(lookMs);
    }
  }

  /** Until then, or until it is stopped. */
  #sleep(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: this.#stopping.signal }).catch(() => {});
  }
}
