/**
 * Bun.serve on a listening socket that another process has bound. Bun 1.4.5 has no option for that
 * (`fd` is ignored), so the descriptor is exchanged underneath: Bun listens on an address nobody
 * knows, and under the number of that socket it is then given ours.
 *
 * What this relies on, and checks each time: Bun.serve registers exactly one listening descriptor
 * with its epoll instance before it returns, for EPOLLIN, with a word of its own as data (proc(5),
 * /proc/self/fdinfo). dup3(2) closes Bun's socket, which ends its registration; ours is registered
 * under the same number with the same word. From then on Bun accepts on it, and closes it when it
 * stops, as if it were its own. If a later Bun does otherwise, this throws: nothing is served
 * wrongly.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import type { Server } from "bun";

import { causeText } from "../wire/cause.ts";
import { SyscallError } from "./errno.ts";
import { C, epollEvent } from "./layout.ts";
import { address, arenaView, errno, libc, loadFunctions, reserve } from "./libc.ts";
import { localAddress, type TcpAddress, type UnixPath } from "./listening-socket.ts";
import { socketOption } from "./socket.ts";

const functions = loadFunctions({
  dup3: { args: ["i32", "i32", "i32"], returns: "i32" },
  epoll_ctl: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" },
});

const eventOffset = reserve(epollEvent.size);

/**
 * Where Bun.serve listens until it is given the real socket: part of its options. For Unix sockets
 * too: with `unix` it has no idle time-out, and a request that came over one has no address either
 * way.
 */
export interface Placeholder {
  readonly hostname: "127.0.0.1";
  readonly port: 0;
}

/** A server and the real socket it accepts on. */
export interface ServedListener {
  readonly server: Server<undefined>;
  readonly address: TcpAddress | UnixPath;
  /**
   * Accepts no more connections; those there are go on, idle ones too. The listener is closed in
   * this process: if nobody else has it, its address is free. To be called before the server's
   * `stop`; once is enough.
   */
  stopAccepting(): void;
}

interface Registration {
  readonly epoll: number;
  readonly events: number;
  readonly data: bigint;
}

/**
 * Serves on a listener. Takes no ownership: Bun gets a duplicate, and the caller's descriptor may
 * be closed afterwards.
 * @param serve calls Bun.serve with the placeholder among its options.
 * @throws Error when this Bun cannot be given a listener.
 */
export function serveOn(
  listener: number,
  serve: (placeholder: Placeholder) => Server<undefined>,
): ServedListener {
  const before = listeners();
  const server = serve({ hostname: "127.0.0.1", port: 0 });
  try {
    const added = [...listeners()].filter(([fd]) => !before.has(fd));
    const [found, ...others] = added;
    if (found === undefined || others.length > 0) {
      throw new Error(`Bun.serve registered ${added.length} listeners instead of one`);
    }
    const [fd, registration] = found;
    exchange(fd, registration, listener);
    const name = localAddress(listener);
    if (name === undefined) throw new Error("it is neither a TCP nor a Unix socket");
    let accepts = true;
    const stopAccepting = (): void => {
      if (!accepts) return; // by now the number may be somebody else's
      accepts = false;
      // Others may hold the same description, so closing alone would not end the registration.
      functions.epoll_ctl(registration.epoll, C.EPOLL_CTL_DEL, fd, null);
      // What Bun will close is a socket that means nothing. With no descriptor free for that, the
      // listener stays open until then.
      const inert = libc.socket(C.AF_UNIX, C.SOCK_STREAM | C.SOCK_CLOEXEC, 0);
      if (inert < 0) return;
      functions.dup3(inert, fd, C.O_CLOEXEC);
      libc.close(inert);
    };
    return { server, address: name, stopAccepting };
  } catch (cause) {
    void server.stop(true);
    const why = causeText(cause);
    throw new Error(`serve on the inherited socket ${listener}: ${why}`, { cause });
  }
}

function exchange(fd: number, { epoll, events, data }: Registration, listener: number): void {
  if ((events & C.EPOLLIN) === 0 || data === 0n) {
    throw new Error(`its registration is not as expected (events ${events}, data ${data})`);
  }
  if (functions.dup3(listener, fd, C.O_CLOEXEC) < 0) {
    throw new SyscallError("dup3", `fd ${listener}`, errno());
  }
  // Exclusive: of all processes that wait on one socket, a connection wakes one, not all.
  arenaView.setUint32(eventOffset + epollEvent.events, (events | C.EPOLLEXCLUSIVE) >>> 0, true);
  arenaView.setBigUint64(eventOffset + epollEvent.data, data, true);
  if (functions.epoll_ctl(epoll, C.EPOLL_CTL_ADD, fd, address(eventOffset)) < 0) {
    throw new SyscallError("epoll_ctl", `fd ${fd}`, errno());
  }
}

/** The listening sockets that are registered with an epoll instance of this process. */
function listeners(): Map<number, Registration> {
  const found = new Map<number, Registration>();
  for (const name of readdirSync("/proc/self/fd")) {
    for (const [, fd, events, data] of registrationsOf(name)) {
      if (socketOption(Number(fd), C.SO_ACCEPTCONN) !== 1) continue;
      found.set(Number(fd), {
        epoll: Number(name),
        events: Number.parseInt(events ?? "", 16),
        data: BigInt(`0x${data}`),
      });
    }
  }
  return found;
}

function registrationsOf(fd: string): RegExpExecArray[] {
  try {
    if (readlinkSync(`/proc/self/fd/${fd}`) !== "anon_inode:[eventpoll]") return [];
    const info = readFileSync(`/proc/self/fdinfo/${fd}`, "latin1");
    return [...info.matchAll(/^tfd: +(\d+) events: +([0-9a-f]+) data: +([0-9a-f]+)/gm)];
  } catch {
    return []; // the descriptor that listed the directory
  }
}
