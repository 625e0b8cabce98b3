/**
 * A program that inherits its listening socket as systemd passes one (sd_listen_fds(3)): descriptor
 * 3, LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES. The socket has no name: nobody but us can connect, and
 * nothing can be taken from anybody.
 *
 * It takes connections before the program has run a line. So at first it has room for one: when a
 * second one finds room, the program has accepted the first, or has asked for more room itself.
 */
import { duplicate, setNonBlocking } from "../../../native/fd.ts";
import type { OwnedFd } from "../../../native/owned-fd.ts";
import { listenAgain } from "../../../native/socket.ts";
import { backlog, bindNameless, type SocketPlace } from "../instance-ends.ts";
import { FirstStreams } from "./first-streams.ts";
import type { SessionSocket, Way } from "./way.ts";

export class InheritedWay implements Way {
  readonly where = "the socket that it inherits";
  readonly variables = ["LISTEN_FDS=1", "LISTEN_FDNAMES=http"];
  readonly words = {};
  readonly listener: OwnedFd;
  readonly #socket: SessionSocket;
  /** The listener, until there is room for many. */
  readonly #own: OwnedFd;
  #probe: OwnedFd | undefined;
  readonly #first = new FirstStreams();

  constructor(place: SocketPlace) {
    const { listener, socket } = bindNameless(place, 0);
    // As systemd passes it: a simple program takes EAGAIN for the end.
    setNonBlocking(listener.number, false);
    this.listener = listener;
    this.#socket = socket;
    this.#own = duplicate(listener.number);
  }

  isListening(): boolean {
    if (this.#probe === undefined) {
      const first = this.#socket.connect();
      if (first === "full") return false;
      this.#probe = first;
    }
    const second = this.#socket.connect();
    if (second === "full") return false;
    this.#first.add(this.#probe);
    this.#first.add(second);
    this.#probe = undefined;
    listenAgain(this.#own.number, backlog);
    this.#own.close();
    return true;
  }

  connect(): OwnedFd | "full" {
    return this.#first.take() ?? this.#socket.connect();
  }

  close(): void {
    this.#own.close();
    this.#probe?.close();
    this.#first.close();
    this.#socket.close();
  }
}
