/**
 * Who listens on a TCP port of this machine, as far as /proc shows it (proc(5): net/tcp, and the
 * descriptors of processes, which only root and their user may see). For the text of an error: it
 * looks at every process, and takes what it finds for no more than it is.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

import type { TcpAddress } from "./listening-socket.ts";
import { findUserById } from "./process.ts";

/** A listening socket in net/tcp. */
interface Entry {
  readonly address: string;
  readonly uid: number;
  readonly inode: string;
}

/** TCP_LISTEN of linux/tcp.h, as it stands there. */
const listens = "0A";
const anyAddress = /^0+$/;

/** `process 12 (nginx)`, or `a process of www-data`; undefined: it does not show. */
export function holderOfPort(at: TcpAddress): string | undefined {
  const entry = listenersOf(at.port).find(({ address }) => isInTheWay(address, at.host));
  if (entry === undefined) return undefined;
  const pid = processWith(`socket:[${entry.inode}]`);
  if (pid !== undefined) return showProcess(pid);
  return `a process of ${findUserById(entry.uid)?.name ?? `user ${entry.uid}`}`;
}

/** `process 12 (nginx)`. */
export function showProcess(pid: number): string {
  const name = read(`/proc/${pid}/comm`).trim();
  return name === "" ? `process ${pid}` : `process ${pid} (${name})`;
}

function listenersOf(port: number): Entry[] {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const lines = ["tcp", "tcp6"].flatMap((file) => read(`/proc/self/net/${file}`).split("\n"));
  return lines.flatMap((line) => {
    const [, local = "", , state, , , , uid, , inode] = line.trim().split(/\s+/);
    const [address = "", itsPort] = local.split(":");
    if (state !== listens || itsPort !== hex || inode === undefined) return [];
    return [{ address, uid: Number(uid), inode }];
  });
}

/** The kernel shows IPv4 as the number that its bytes are in memory, little-endian. */
function isInTheWay(address: string, host: string): boolean {
  if (anyAddress.test(address) || /^[0.:]+$/.test(host)) return true;
  if (host.includes(":")) return address.length > 8;
  const bytes = host.split(".").toReversed();
  const hex = bytes.map((byte) => Number(byte).toString(16).padStart(2, "0")).join("");
  return address === hex.toUpperCase();
}

function processWith(socket: string): number | undefined {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).find((pid) => linksOf(`/proc/${pid}/fd`).includes(socket));
}

/** What the links of a directory lead to; none where it may not be seen. */
function linksOf(directory: string): string[] {
  try {
    return readdirSync(directory).map((name) => linkText(`${directory}/${name}`));
  } catch {
    return [];
  }
}

function linkText(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return "";
  }
}
