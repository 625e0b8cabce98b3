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
import { readFileSync } from "node:fs";

import {
  connectLoopback,
  isFreePort,
  socketsOf,
  tcpListeners,
  type TcpListener,
} from "../../../native/loopback.ts";
import type { OwnedFd } from "../../../native/owned-fd.ts";
import { findUserById } from "../../../native/process.ts";
import { familyOf } from "../strays.ts";
import type { ProgramOwner, Way } from "./way.ts";

/** How old the knowledge of who listens may be. */
const believedMs = 1_000;

/** Below lie ports that services are known by. */
const lowestPort = 10_000;
const highestPort = 65_535;
const maxTries = 200;

export class PortWay implements Way {
  readonly listener = undefined;
  readonly #port: number;
  /** Sockets that were seen in the program's hands. */
  #known: ReadonlySet<string> = new Set();
  #owner: ProgramOwner | undefined;
  #lookedMs = -Infinity;

  /** @throws Error: no port is free. */
  constructor() {
    this.#port = freePort();
  }

  get where(): string {
    return `127.0.0.1:${this.#port}`;
  }

  get variables(): readonly string[] {
    return [`PORT=${this.#port}`, "HOST=127.0.0.1"];
  }

  get words(): Way["words"] {
    return { port: String(this.#port), host: "127.0.0.1" };
  }

  isListening(owner: ProgramOwner): boolean {
    this.#owner = owner;
    return this.#look(performance.now());
  }

  connect(): OwnedFd | "full" {
    const now = performance.now();
    if (now - this.#lookedMs >= believedMs && !this.#look(now)) {
      throw new Error(`nothing listens on ${this.where} any more`);
    }
    return connectLoopback(this.#port);
  }

  close(): void {}

  #look(now: number): boolean {
    const found = tcpListeners().filter(({ port, isLocal }) => port === this.#port && isLocal);
    const strangers = found.filter(({ inode }) => !this.#known.has(inode));
    if (strangers.length > 0) this.#meet(found);
    this.#lookedMs = now;
    return found.length > 0;
  }

  /** @throws Error: one of them is not the program's. */
  #meet(found: readonly TcpListener[]): void {
    const owner = this.#owner;
    if (owner === undefined) return;
    const held = heldBy(owner.pid);
    const isIts = ({ inode, uid }: TcpListener) => held?.has(inode) ?? uid === owner.uid;
    const stranger = found.find((listener) => !isIts(listener));
    if (stranger !== undefined) {
      const whose = findUserById(stranger.uid)?.name ?? `user ${stranger.uid}`;
      throw new Error(`on ${this.where} listens another program, of ${whose}`);
    }
    this.#known = new Set(found.map(({ inode }) => inode));
  }
}

/** Sockets in the hands of a process and its descendants; undefined: one may not be looked at. */
function heldBy(pid: number): Set<string> | undefined {
  const all = new Set<string>();
  for (const member of familyOf(pid)) {
    const sockets = socketsOf(member);
    if (sockets === undefined) return undefined;
    for (const inode of sockets) all.add(inode);
  }
  return all;
}

/** Where else a program listens, for people; empty: nowhere. */
export function listensOn(pid: number): string {
  const held = heldBy(pid);
  const found = tcpListeners().filter(({ inode }) => held?.has(inode) === true);
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
  const usual = 32_768;
  try {
    const range = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "latin1");
    const first = Number.parseInt(range, 10);
    return first > 2_048 ? first : usual;
  } catch {
    return usual;
  }
}
