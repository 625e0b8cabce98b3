/**
 * A program that is told a port by PORT and HOST. Between the choice of the port and its bind(2)
 * anybody of this machine may take it. So:
 * - It lies below the ports that the kernel gives to outgoing connections, where no accident takes
 *   it.
 * - Who listens there is asked before the first session, and again before a session once a second
 *   has passed: it has to be a socket that a process of the program holds.
 * A program that gives its port up while it runs may so be followed by a stranger for a second. A
 * Unix socket has none of this.
 */
import { errnos, SyscallError } from "../../../native/errno.ts";
import { type FoundListener, listenerAt } from "../../../native/listener-lookup.ts";
import { connectLoopback, isFreePort, socketsOf, tcpListeners } from "../../../native/loopback.ts";
import type { OwnedFd } from "../../../native/owned-fd.ts";
import { childrenOf, kernelText } from "../../../native/process-stat.ts";
import { findUserById } from "../../../native/process.ts";
import type { ProgramOwner, Way } from "./way.ts";

/** How old the knowledge of who listens may be. */
const believedMs = 1_000;

/** Below lie ports that services are known by. */
const lowestPort = 10_000;
const highestPort = 65_535;
const maxTries = 200;

/** As many processes of a program, and descriptors of theirs, are looked at: some 30 ms. */
const maxFamily = 200;
const maxDescriptors = 10_000;

export class PortWay implements Way {
  readonly listener = undefined;
  /** @throws Error: none is free. */
  readonly #port = freePort();
  readonly where = `127.0.0.1:${this.#port}`;
  readonly variables = [`PORT=${this.#port}`, "HOST=127.0.0.1"];
  readonly words = { port: String(this.#port), host: "127.0.0.1" };
  /** The socket that was seen in the program's hands. */
  #known: string | undefined;
  #owner: ProgramOwner | undefined;
  #lookedMs = -Infinity;

  isListening(owner: ProgramOwner): boolean {
    this.#owner = owner;
    return this.#look(performance.now());
  }

  connect(): OwnedFd | "full" {
    const now = performance.now();
    if (now - this.#lookedMs >= believedMs && !this.#look(now)) {
      throw new SyscallError("connect", this.where, errnos.ECONNREFUSED);
    }
    return connectLoopback(this.#port);
  }

  close(): void {}

  #look(now: number): boolean {
    const found = listenerAt(this.#port);
    if (found !== undefined && found.inode !== this.#known) this.#meet(found);
    this.#lookedMs = now;
    return found !== undefined;
  }

  /** @throws Error: it is not the program's. */
  #meet({ inode, uid }: FoundListener): void {
    const owner = this.#owner;
    if (owner === undefined) return;
    if (!(holds(owner.pid, inode) ?? uid === owner.uid)) {
      const whose = findUserById(uid)?.name ?? `user ${uid}`;
      throw new Error(`on ${this.where} listens another program, of ${whose}`);
    }
    this.#known = inode;
  }
}

/** Whether a process or a descendant of it has a socket; undefined: that cannot be told. */
function holds(pid: number, inode: string): boolean | undefined {
  for (const sockets of socketsHeld(pid)) {
    if (sockets === undefined || sockets.has(inode)) return sockets?.has(inode);
  }
  return false;
}

/**
 * Sockets in the hands of a process, then of its descendants. The last is undefined if one may not
 * be looked at, or they are too many: whoever makes thousands must not have us look at all of them.
 */
function* socketsHeld(pid: number): Generator<ReadonlySet<string> | undefined> {
  const family = [pid];
  let left = maxDescriptors;
  for (const member of family) {
    const sockets = family.length > maxFamily ? undefined : socketsOf(member, left);
    yield sockets;
    if (sockets === undefined) return;
    left -= sockets.size;
    family.push(...childrenOf(member));
  }
}

/** Where else a program listens, for people; empty: nowhere. */
export function listensOn(pid: number): string {
  const held = [...socketsHeld(pid)];
  const found = tcpListeners().filter(({ inode }) => held.some((sockets) => sockets?.has(inode)));
  return found.map(({ shown }) => shown).join(", ");
}

function freePort(): number {
  const end = Math.min(firstOutgoing(), highestPort + 1);
  const start = end - lowestPort > 1_000 ? lowestPort : 1_024;
  for (let tries = 0; tries < maxTries; tries += 1) {
    const port = start + Math.floor(Math.random() * (end - start));
    if (isFreePort(port)) return port;
  }
  throw new Error(`find a free port from ${start} to ${end - 1}: ${maxTries} were taken`);
}

/** The first of the ports that the kernel gives to outgoing connections (ip(7)). */
function firstOutgoing(): number {
  const first = Number.parseInt(kernelText("/proc/sys/net/ipv4/ip_local_port_range"), 10);
  return first > 2_048 ? first : 32_768;
}
