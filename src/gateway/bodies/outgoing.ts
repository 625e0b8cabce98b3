/**
 * What goes out to one visitor, in order. Rules:
 * - Parts are gathered in the arena, and leave it with `flush`, in the same turn.
 * - What the kernel does not take is kept: in a spool, which has room for an answer of usual size,
 *   so that a visitor who is slow holds up nobody but himself. Where that is not wanted, or the
 *   spool takes no more, `isFull` tells the source to wait.
 * - A file is read as the kernel takes it; nothing follows before its end.
 */
import { type FilePart, FileSender, type FileSink } from "../files/file-sender.ts";
import { answerMemoryBytes, Spool, type SpoolOptions } from "./spool.ts";
import { Arena } from "../../wire/arena.ts";

/** One for the worker; what lies in it is one visitor's, and goes to nobody else. */
const arena = new Arena();
const gathering: { by: Outgoing | undefined } = { by: undefined };
/** A part of this size costs less as a system call of its own than copied. */
const maxCopiedBytes = 64 * 1024;

/** A visitor's socket. */
export interface OutgoingSocket extends FileSink {
  /** Whether nothing is encrypted on it. */
  readonly isPlain: boolean;
  /** A file is sent on, or its end has come, outside of any call: `drained` is to be called. */
  goOnSoon(): void;
}

export type OutgoingSpool = Omit<SpoolOptions, "rewinds" | "memoryBytes">;

export class Outgoing {
  readonly #socket: OutgoingSocket;
  readonly #spoolOptions: OutgoingSpool;
  /** Whether an answer is taken as fast as it is given. */
  spools = true;
  #spool: Spool | undefined;
  /** Behind the spool, which took no more: one piece, since the source waits from then on. */
  #held: Uint8Array[] = [];
  #file: FileSender | undefined;
  /** Bytes that the kernel has taken, ever. */
  sentBytes = 0;

  constructor(socket: OutgoingSocket, spool: OutgoingSpool) {
    this.#socket = socket;
    this.#spoolOptions = spool;
  }

  /** Whether the kernel has all of it. */
  get isEmpty(): boolean {
    return this.#spool === undefined && this.#held.length === 0 && this.#file === undefined;
  }

  /** Whether whoever makes it should wait until some is taken. */
  get isFull(): boolean {
    if (this.#held.length > 0) return true;
    return !this.spools && (this.#spool?.unreadBytes ?? 0) >= answerMemoryBytes;
  }

  text(text: string): void {
    this.#gather();
    if (!arena.hasRoom(text.length)) this.flush();
    arena.putText(text);
  }

  bytes(bytes: Uint8Array): void {
    this.#gather();
    if (bytes.length <= maxCopiedBytes && arena.hasRoom(bytes.length)) return arena.put(bytes);
    this.flush();
    if (bytes.length <= maxCopiedBytes) arena.put(bytes);
    else this.#send(bytes);
  }

  chunk(bytes: Uint8Array): void {
    this.text(`${bytes.length.toString(16)}\r\n`);
    this.bytes(bytes);
    this.text("\r\n");
  }

  /** All that was gathered goes out. */
  flush(): void {
    if (gathering.by === this && !arena.isEmpty) this.#send(arena.take());
  }

  /**
   * After what was gathered; takes the file over.
   * @throws Error when it cannot be sent: the connection is to be reset.
   */
  file(part: FilePart): void {
    this.flush();
    this.#file = new FileSender(part, this.#socket.isPlain);
    if (this.#spool === undefined && this.#held.length === 0) this.#sendFile(this.#file);
  }

  /** The kernel takes bytes again. @throws Error as `file`. */
  drained(): void {
    while (this.#spool !== undefined) {
      const piece = this.#spool.peek();
      const sent = piece.length === 0 ? 0 : this.#push(piece);
      this.#spool.skip(sent);
      if (this.#spool.unreadBytes > 0 && sent < piece.length) return;
      if (this.#spool.unreadBytes > 0) continue;
      this.#spool.close();
      this.#spool = undefined;
    }
    for (let first = this.#held[0]; first !== undefined; first = this.#held[0]) {
      const sent = this.#push(first);
      if (sent < first.length) {
        this.#held[0] = first.subarray(sent);
        return;
      }
      this.#held.shift();
    }
    if (this.#file !== undefined) this.#sendFile(this.#file);
  }

  /** Nothing of it is wanted any more. */
  close(): void {
    if (gathering.by === this) arena.take();
    this.#spool?.close();
    this.#spool = undefined;
    this.#held = [];
    this.#file?.close();
    this.#file = undefined;
  }

  /** What somebody else has left there is his. */
  #gather(): void {
    if (gathering.by === this) return;
    gathering.by?.flush();
    gathering.by = this;
  }

  #send(bytes: Uint8Array): void {
    const sent = this.isEmpty ? this.#push(bytes) : 0;
    if (sent < bytes.length) this.#keep(bytes.subarray(sent));
  }

  /** What is gone is taken by nobody: it counts as sent, and the connection's end is on its way. */
  #push(bytes: Uint8Array): number {
    const sent = this.#socket.write(bytes);
    if (sent < 0) return bytes.length;
    this.sentBytes += sent;
    return sent;
  }

  #keep(bytes: Uint8Array): void {
    if (this.#held.length === 0 && this.#spooled(bytes)) return;
    // A copy: `slice` of a Buffer is none, and the arena belongs to all.
    this.#held.push(new Uint8Array(bytes));
  }

  #spooled(bytes: Uint8Array): boolean {
    this.#spool ??= new Spool({
      ...this.#spoolOptions,
      rewinds: false,
      memoryBytes: answerMemoryBytes,
    });
    try {
      this.#spool.append(bytes);
      return true;
    } catch {
      // It has no room, or its file system has none: the source waits instead.
      if (this.#spool.unreadBytes === 0) {
        this.#spool.close();
        this.#spool = undefined;
      }
      return false;
    }
  }

  #sendFile(file: FileSender): void {
    const before = file.sentBytes;
    const outcome = file.send(this.#socket);
    this.sentBytes += file.sentBytes - before;
    if (outcome === "again") return this.#socket.goOnSoon();
    if (outcome === "drain") return;
    file.close();
    this.#file = undefined;
  }
}
