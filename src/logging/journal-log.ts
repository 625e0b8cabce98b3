/**
 * Lines for journald, each a datagram of fields (systemd.journal-fields(7), the native protocol).
 * Never blocks and never throws: what finds no room waits, bounded; what is beyond is counted and
 * said when there is room again.
 */
import { pathAddress, sendDatagram, type UnixAddress } from "../native/socket.ts";
import { ascii, fromText, toBytes, type ByteString } from "../wire/bytes.ts";
import { RetryTimer } from "../native/retry-timer.ts";

/** What may wait: journald restarts within seconds. */
const maxWaitingBytes = 4 * 1024 * 1024;
const firstRetryMs = 5;
const maxRetryMs = 200;
/** LOG_INFO, LOG_WARNING (syslog(3)). */
const info = 6;
const warning = 4;

export class JournalLog {
  readonly #socket: UnixAddress;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  /** By the identifiers of applications. */
  readonly #dropped = new Map<string, number>();
  readonly #retry = new RetryTimer(() => this.#flush(), firstRetryMs, maxRetryMs);

  /** @param path of journald's socket. @throws RangeError when it cannot be one's. */
  constructor(path: string) {
    this.#socket = pathAddress(fromText(path));
  }

  /** @param line without its line end. */
  write(identifier: string, pid: number, line: ByteString): void {
    const datagram = datagramOf(identifier, pid, line, info);
    if (this.#waitingBytes + datagram.length > maxWaitingBytes) {
      this.#dropped.set(identifier, (this.#dropped.get(identifier) ?? 0) + 1);
      return;
    }
    this.#push(datagram);
    if (this.#waiting.length === 1) this.#flush();
  }

  #push(datagram: Buffer): void {
    this.#waiting.push(datagram);
    this.#waitingBytes += datagram.length;
  }

  #flush(): void {
    let sent = 0;
    for (const datagram of this.#waiting) {
      if (!this.#send(datagram)) break;
      this.#waitingBytes -= datagram.length;
      sent += 1;
    }
    this.#waiting = this.#waiting.slice(sent);
    if (sent > 0) this.#retry.reset();
    if (this.#waiting.length > 0) return this.#retry.arm();
    for (const [identifier, count] of this.#dropped) {
      const note = ascii(`(${count} lines were dropped: the journal took no more)`);
      this.#push(datagramOf(identifier, process.pid, note, warning));
    }
    this.#dropped.clear();
    if (this.#waiting.length > 0) this.#retry.arm();
  }

  /** @returns false: there is no room, or no journald just now. */
  #send(datagram: Buffer): boolean {
    try {
      return sendDatagram(this.#socket, datagram);
    } catch {
      return false; // no descriptor is free
    }
  }
}

function datagramOf(identifier: string, pid: number, line: ByteString, priority: number): Buffer {
  const fields =
    `SYSLOG_IDENTIFIER=${fromText(identifier)}\nAPPLICATION=${fromText(identifier)}\n` +
    `APPLICATION_PID=${pid}\nPRIORITY=${priority}\nMESSAGE=${line}\n`;
  return toBytes(fields as ByteString);
}
