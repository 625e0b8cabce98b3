/**
 * Telling systemd how the service is (sd_notify(3)): one datagram for each message, to the socket
 * that NOTIFY_SOCKET names. Without that variable, nothing happens. A message that does not arrive
 * is not worth failing for.
 */
import { monotonicMicroseconds } from "../../native/clock.ts";
import {
  abstractAddress,
  pathAddress,
  sendDatagram,
  type UnixAddress,
} from "../../native/socket.ts";

type Environment = Readonly<Record<string, string | undefined>>;

export class Notifier {
  readonly #socket: UnixAddress | undefined;
  #watchdog: ReturnType<typeof setInterval> | undefined;

  /** @param isWell whether the watchdog is to hear of it. */
  constructor(environment: Environment, isWell: () => boolean) {
    this.#socket = addressOf(environment["NOTIFY_SOCKET"] ?? "");
    const everyMs = watchdogMs(environment);
    if (this.#socket === undefined || everyMs === undefined) return;
    // The program before this one in the process may have been silent for half of it.
    this.#send("WATCHDOG=1");
    // Half of it, as sd_watchdog_enabled(3) advises.
    this.#watchdog = setInterval(() => {
      if (isWell()) this.#send("WATCHDOG=1");
    }, everyMs / 2);
    this.#watchdog.unref();
  }

  /** Serves, from now on or again. */
  ready(status: string): void {
    this.#send("READY=1", `MAINPID=${process.pid}`, `STATUS=${status}`);
  }

  reloading(): void {
    const now = this.#socket === undefined ? 0 : monotonicMicroseconds();
    this.#send("RELOADING=1", `MONOTONIC_USEC=${now}`, "STATUS=reading the configuration anew");
  }

  stopping(): void {
    this.#send("STOPPING=1", "STATUS=finishing the requests under way");
  }

  close(): void {
    clearInterval(this.#watchdog);
  }

  #send(...lines: string[]): void {
    if (this.#socket === undefined) return;
    const text = lines.map((line) => line.replaceAll("\n", " ")).join("\n");
    try {
      sendDatagram(this.#socket, Buffer.from(text));
    } catch {
      // no descriptor is free
    }
  }
}

function addressOf(name: string): UnixAddress | undefined {
  const bytes = Buffer.from(name.slice(1)).toString("latin1");
  try {
    if (name.startsWith("/")) return pathAddress(`/${bytes}`);
    return name.startsWith("@") ? abstractAddress(bytes, "exact") : undefined;
  } catch {
    return undefined; // longer than a socket's name can be
  }
}

/** WATCHDOG_USEC in milliseconds, if it is meant for this process. */
function watchdogMs(environment: Environment): number | undefined {
  const pid = environment["WATCHDOG_PID"];
  if (pid !== undefined && pid !== String(process.pid)) return undefined;
  const ms = Number(environment["WATCHDOG_USEC"]) / 1000;
  return Number.isFinite(ms) && ms >= 1 ? ms : undefined;
}
