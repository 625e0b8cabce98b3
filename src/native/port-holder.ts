/**
 * Who listens on a TCP port of this machine, as far as /proc shows it: descriptors of processes may
 * be seen by root and their user alone. For the text of an error: it looks at every process, and
 * takes what it finds for no more than it is.
 */
import type { TcpAddress } from "./listening-socket.ts";
import { socketsOf, tcpListeners } from "./loopback.ts";
import { kernelText, processNumbers, statOf } from "./process-stat.ts";
import { findUserById } from "./process.ts";

/** `process 12 (nginx)`, or `a process of www-data`; undefined: it does not show. */
export function holderOfPort({ host, port }: TcpAddress): string | undefined {
  // Any address is in the way of any other.
  const starts = /^[0.:]+$/.test(host) ? [""] : ["*", host.includes(":") ? "[" : `${host}:`];
  const listener = tcpListeners().find(
    (one) => one.port === port && starts.some((start) => one.shown.startsWith(start)),
  );
  if (listener === undefined) return undefined;
  const { inode, uid } = listener;
  const pid = processNumbers().find((one) => socketsOf(one)?.has(inode));
  if (pid !== undefined) return showProcess(pid);
  return `a process of ${findUserById(uid)?.name ?? `user ${uid}`}`;
}

/** `process 12 (nginx)`; of a worker the gateway, which would replace one that somebody ends. */
export function showProcess(pid: number): string {
  const [, command] = kernelText(`/proc/${pid}/cmdline`).split("\0");
  const gateway = command === "gateway-worker" ? statOf(pid)?.parent : undefined;
  if (gateway !== undefined && gateway > 1) return showProcess(gateway);
  const name = kernelText(`/proc/${pid}/comm`).trim();
  return name === "" ? `process ${pid}` : `process ${pid} (${name})`;
}
