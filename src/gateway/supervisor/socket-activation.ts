/**
 * Sockets that systemd has opened for the service (sd_listen_fds(3)): descriptors from 3 on, if
 * LISTEN_PID names this process. One whose name is `tls` or `https` is served with TLS.
 */
import { Listener, ListenError } from "./listeners.ts";

const firstDescriptor = 3;
/** More than anybody passes; keeps a mistyped number from a long search. */
const maxSockets = 1000;

/** @throws ListenError when a socket cannot be accepted on, or there is no certificate for one. */
export function passedListeners(
  environment: Readonly<Record<string, string | undefined>>,
  hasCertificate: boolean,
): Listener[] {
  if (environment["LISTEN_PID"] !== String(process.pid)) return [];
  const count = Number(environment["LISTEN_FDS"]);
  if (!Number.isInteger(count) || count < 0 || count > maxSockets) {
    throw new ListenError(`LISTEN_FDS is '${environment["LISTEN_FDS"]}', not a number of sockets`);
  }
  const names = (environment["LISTEN_FDNAMES"] ?? "").split(":");
  return Array.from({ length: count }, (_, index) => {
    const tls = names[index] === "tls" || names[index] === "https";
    if (tls && !hasCertificate) {
      throw new ListenError(`socket '${names[index]}' of systemd: there is no [tls] certificate`);
    }
    return Listener.inherited(firstDescriptor + index, tls);
  });
}
