/**
 * The control sockets of other users' gateways, for root. Whoever owns one may be anybody's enemy,
 * so nothing is believed but what the kernel says:
 * - Only users who have a process are looked at, each in the directory that only he can enter, and
 *   there only the names of his processes: no list of a stranger's is read.
 * - No link of anybody but root is followed, no file system entered that could wait for somebody.
 *   What is connected to is the very file that was looked at, if it is a socket and his.
 * - The process that listens there is the one that the name says, and his (SO_PEERCRED).
 */
import { runtimeDirectories } from "../gateway/supervisor/runtime-directory.ts";
import { orUndefined } from "../native/errno.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { last, PathWalk } from "../native/path-walk.ts";
import { peerPid, peerUser } from "../native/peer.ts";
import { descriptorPath } from "../native/pinned-socket.ts";
import { effectiveUserOf, processNumbers } from "../native/process-stat.ts";
import { connectUnix, pathAddress } from "../native/socket.ts";
import { UsageError } from "./usage-error.ts";

/** Of one user: the others are his own loss. */
const maxOfUser = 8;
/** In all: as many answers are waited for at once. */
const maxInAll = 200;

/** A socket that another user's gateway may listen on. */
export interface ForeignSocket {
  readonly pid: number;
  readonly uid: number;
  /** Connects anew. @returns undefined: it is not there, or not what it says. */
  connect(): OwnedFd | "full" | undefined;
}

/** @param pid of the gateway, if it is known. @throws UsageError: there are too many to ask. */
export function foreignSockets(pid: number | undefined): ForeignSocket[] {
  const pids = pid === undefined ? processNumbers() : [pid];
  const found: ForeignSocket[] = [];
  const users = Map.groupBy(pids, (one) => effectiveUserOf(one) ?? 0);
  users.delete(0);
  for (const [uid, own] of users) {
    const sockets = runtimeDirectories(process.env, uid).flatMap((directory) =>
      socketsIn(directory, uid, own),
    );
    found.push(...sockets.slice(0, maxOfUser));
    if (found.length > maxInAll) {
      throw new UsageError(`more than ${maxInAll} gateways run: choose one with --pid`);
    }
  }
  return found;
}

function socketsIn(directory: string, uid: number, pids: readonly number[]): ForeignSocket[] {
  const found: ForeignSocket[] = [];
  within(directory, uid, (isThere) => {
    for (const pid of pids) {
      if (found.length === maxOfUser) return;
      if (isThere(`${pid}.sock`) === undefined) continue;
      found.push({ pid, uid, connect: () => connectTo(directory, uid, pid) });
    }
  });
  return found;
}

function connectTo(directory: string, uid: number, pid: number): OwnedFd | "full" | undefined {
  return within(directory, uid, (numberOf) => {
    const number = numberOf(`${pid}.sock`);
    if (number === undefined) return undefined;
    const stream = connectUnix(pathAddress(descriptorPath(number)));
    if (stream === "full") return stream;
    if (peerUser(stream.number) === uid && peerPid(stream.number) === pid) return stream;
    stream.close();
    return undefined;
  });
}

/**
 * Goes to a user's directory. @param look is given what opens (O_PATH) a socket of his in it by its
 * name, until `look` returns; undefined: there is none. @returns undefined: the directory is not
 * there, or not his alone.
 */
function within<T>(
  directory: string,
  uid: number,
  look: (numberOf: (name: string) => number | undefined) => T,
): T | undefined {
  using walk = new PathWalk((mount) => mount === "local");
  const isLed = () => walk.links.some(({ link }) => link.facts.uid !== 0);
  return orUndefined(() => {
    const place = walk.absolute(directory);
    const { facts } = last(place);
    const isHis = facts.isDirectory() && facts.uid === uid && (facts.mode & 0o077) === 0;
    if (!isHis || isLed()) return undefined;
    return look((name) => {
      const file = orUndefined(() => last(walk.from(place, name, true)));
      const isSocket = file?.facts.isSocket() === true && file.facts.uid === uid && !isLed();
      return isSocket ? file.fd.number : undefined;
    });
  });
}
