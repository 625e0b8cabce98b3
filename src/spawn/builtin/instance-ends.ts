/**
 * What an instance is connected to the server by, made before it starts: its listening socket, its
 * lifeline and its output. Each has an end that the instance inherits and one that stays here.
 */
import { open, unlink } from "../../native/fd.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { descriptorPath, PinnedSocket } from "../../native/pinned-socket.ts";
import { makePipe } from "../../native/pipe.ts";
import { listenUnix, pathAddress, socketPair } from "../../native/socket.ts";
import { OutputReader, type TakeLine } from "./output.ts";
import type { SessionSocket, Way } from "./program/way.ts";

/** Connections that wait while the instance is busy; the kernel caps it at net.core.somaxconn. */
export const backlog = 1024;

/** Where a socket may be bound: a directory of ours alone, and a new name in it. */
export interface SocketPlace {
  readonly directory: string;
  readonly name: string;
}

/** What it inherits, in the order in which a preloader is sent them. */
export interface InheritedEnds {
  readonly listener: OwnedFd;
  readonly lifeline: OwnedFd;
  readonly output: OwnedFd;
}

/** What stays here. */
export interface OwnEnds {
  readonly socket: SessionSocket;
  readonly lifeline: OwnedFd;
  readonly output: OutputReader;
}

/**
 * Makes both sides (or takes the way that a program is given), lets `start` hand the inherited ones
 * on, and closes them here. If that fails, nothing is left open.
 */
export async function withEnds<T>(
  place: SocketPlace | Way,
  writeLine: TakeLine,
  start: (inherited: InheritedEnds) => Promise<T> | T,
): Promise<{ started: T; own: OwnEnds }> {
  using inherited = new DisposableStack();
  using own = new DisposableStack();
  const { listener, socket } = "name" in place ? bindNameless(place, backlog) : endsOf(place);
  inherited.use(listener);
  own.defer(() => socket.close());
  const [ours, theirs] = socketPair();
  own.use(ours);
  inherited.use(theirs);
  const { readEnd, writeEnd } = makePipe();
  inherited.use(writeEnd);
  const output = new OutputReader(readEnd, writeLine);
  own.defer(() => output.stop());
  const started = await start({ listener, lifeline: theirs, output: writeEnd });
  own.move(); // From here on nothing throws, and all three are ours to keep.
  return { started, own: { socket, lifeline: ours, output } };
}

interface Ends {
  readonly listener: OwnedFd;
  readonly socket: SessionSocket;
}

/** Something has to be on the descriptor of a listener, also where none is inherited. */
function endsOf(way: Way): Ends {
  return { listener: way.listener ?? open("/dev/null", "read"), socket: way };
}

/** A listening socket whose name is gone again, and the descriptor to connect by. */
export function bindNameless(place: SocketPlace, room: number): Ends {
  // Through a descriptor, since the directory's own path may not fit a socket address.
  using directory = open(place.directory, "directory");
  const path = `${descriptorPath(directory.number)}/${place.name}`;
  const listener = listenUnix(pathAddress(path), room);
  try {
    return { listener, socket: new PinnedSocket(path) };
  } catch (error) {
    listener.close();
    throw error;
  } finally {
    unlink(path);
  }
}
