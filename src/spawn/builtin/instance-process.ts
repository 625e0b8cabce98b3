/**
 * The process of one instance of the built-in spawner, from its start to its last sign of life: its
 * lifeline, its output, its socket, and how it is made to go.
 *
 * It inherits exactly five descriptors: /dev/null, its output pipe twice, its listening socket and
 * its lifeline. Its socket has no name any more when it starts: only we can connect to it.
 */
import { open, unlink } from "../../native/fd.ts";
import { errnos, SyscallError } from "../../native/errno.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { descriptorPath, PinnedSocket } from "../../native/pinned-socket.ts";
import { makePipe } from "../../native/pipe.ts";
import { sendSignal, signals } from "../../native/process.ts";
import { listenUnix, pathAddress, socketPair } from "../../native/socket.ts";
import type { ByteString } from "../../wire/bytes.ts";
import { exitText, waitForExit } from "../process-end.ts";
import { Lifeline, type Announcement } from "./lifeline.ts";
import { OutputReader } from "./output.ts";

/** Connections that wait while the instance is busy; the kernel caps it at net.core.somaxconn. */
const backlog = 1024;

/** How long a dead instance's output is waited for: something it left behind may hold the pipe. */
const outputMs = 200;

const killedMs = 1_000;

/** How long an instance is left to itself at each step of its end, in milliseconds. */
export interface EndTimes {
  /** From release to SIGTERM. */
  readonly retiredMs: number;
  /** The same once the server is shutting down. */
  readonly shutdownMs: number;
  /** From SIGTERM to SIGKILL. */
  readonly terminatedMs: number;
}

/** How much time there is: the spawner's word to all its instances. */
export interface Urgency {
  readonly times: EndTimes;
  /** Aborts when the server begins to shut down. */
  readonly shutdown: AbortSignal;
  /** Aborts when even the shutdown must not wait any more. */
  readonly hurry: AbortSignal;
}

export interface StartOptions {
  readonly argv: readonly string[];
  readonly env: Record<string, string>;
  /** Where the socket may be bound: a directory of ours alone, and a new name in it. */
  readonly socketPlace: { readonly directory: string; readonly name: string };
  readonly urgency: Urgency;
  readonly writeLine: (pid: number, line: ByteString) => void;
}

export class InstanceProcess {
  readonly #process: Bun.Subprocess;
  readonly #socket: PinnedSocket;
  readonly #lifeline: Lifeline;
  readonly #output: OutputReader;
  readonly #urgency: Urgency;
  /** Resolves when the process has exited, or has closed its end of the lifeline. */
  readonly gone: Promise<void>;
  #ending: Promise<void> | undefined;

  /** Starts it. @throws Error: not even the launch command could be started. */
  constructor(options: StartOptions) {
    const { listener, pinned } = bindNameless(options.socketPlace);
    using theirListener = listener;
    using stack = new DisposableStack();
    stack.use(pinned);
    const [ours, theirs] = socketPair();
    using theirLifeline = theirs;
    stack.use(ours);
    const { readEnd, writeEnd } = makePipe();
    using ourOutput = readEnd;
    using theirOutput = writeEnd;
    const output = theirOutput.number;
    // Before the start: it can fail for want of a descriptor, and nothing may once there is a
    // process.
    let pid = 0;
    this.#output = new OutputReader(ourOutput.number, (line) => options.writeLine(pid, line));
    this.#process = Bun.spawn([...options.argv], {
      env: options.env,
      stdio: ["ignore", output, output, theirListener.number, theirLifeline.number],
    });
    stack.move(); // From here on nothing throws, and both are ours to keep.
    this.#urgency = options.urgency;
    this.#socket = pinned;
    this.#lifeline = new Lifeline(ours);
    pid = this.#process.pid;
    this.gone = Promise.race([this.#lifeline.closedByPeer, this.#hasExited()]);
    void this.#endWhenGone();
  }

  async #hasExited(): Promise<void> {
    await this.#process.exited;
  }

  async #endWhenGone(): Promise<void> {
    await this.gone;
    await this.end(this.#urgency.times.terminatedMs);
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** What it says at its start; undefined when it ends before saying anything. */
  get announced(): Promise<Announcement | undefined> {
    return this.#lifeline.announced;
  }

  /** Resolves when nobody can write to its output any more, or after stopOutput. */
  get outputEnded(): Promise<void> {
    return this.#output.ended;
  }

  /** As connectUnix. An instance that is on its way out refuses. */
  connect(): OwnedFd | "full" {
    if (this.#ending !== undefined) {
      throw new SyscallError("connect", `instance ${this.pid}`, errnos.ECONNREFUSED);
    }
    return this.#socket.connect();
  }

  /** How it ended, for a sentence: waits a moment, since its lifeline goes a little before it. */
  async describeEnd(): Promise<string> {
    const hasExited = await waitForExit(this.#process.exited, outputMs);
    return hasExited ? exitText(this.#process) : "closed its lifeline";
  }

  /** The end of its output as text, once it has written it all, or nearly at once. */
  async lastOutput(): Promise<string> {
    await waitForExit(this.#output.ended, outputMs);
    return Buffer.from(this.#output.tail).toString("utf8");
  }

  /** Ends it at once, with all of its process group. */
  kill(): void {
    this.#signal(signals.SIGKILL);
    void this.end(0);
  }

  /**
   * Tells it to go, and makes it go if it does not within `retiredMs`. @returns when it has gone.
   * A second call changes nothing.
   */
  end(retiredMs: number): Promise<void> {
    this.#ending ??= this.#end(retiredMs);
    return this.#ending;
  }

  async #end(retiredMs: number): Promise<void> {
    this.#lifeline.close();
    this.#socket.close();
    const { exited } = this.#process;
    const { times, shutdown, hurry } = this.#urgency;
    if (await waitForExit(exited, retiredMs, shutdown)) return;
    if (shutdown.aborted && (await waitForExit(exited, times.shutdownMs, hurry))) return;
    this.#signal(signals.SIGTERM);
    if (await waitForExit(exited, times.terminatedMs, hurry)) return;
    this.#signal(signals.SIGKILL);
    // The kernel needs a moment; a process it cannot end must not hold us up for ever.
    await waitForExit(exited, killedMs);
  }

  /** Stops copying its output, which what it left behind may go on writing. */
  stopOutput(): void {
    this.#output.stop();
  }

  #signal(signal: number): void {
    // Until its end has been seen it is our child: neither its id nor its group can be another's.
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    try {
      // Before the launch command has made the group there is only the process.
      sendSignal(-this.pid, signal);
      // It may have left its group, or not have one yet.
      sendSignal(this.pid, signal);
    } catch (error) {
      // EPERM: it runs as a user we may not signal. Its lifeline is closed, which must do.
      if (!(error instanceof SyscallError)) throw error;
    }
  }
}

/** A listening socket whose name is gone again, and the descriptor to connect by. */
function bindNameless(place: StartOptions["socketPlace"]): {
  listener: OwnedFd;
  pinned: PinnedSocket;
} {
  // Through a descriptor, since the directory's own path may not fit a socket address.
  using directory = open(place.directory, "directory");
  const path = `${descriptorPath(directory.number)}/${place.name}`;
  const listener = listenUnix(pathAddress(path), backlog);
  try {
    return { listener, pinned: new PinnedSocket(path) };
  } catch (error) {
    listener.close();
    throw error;
  } finally {
    unlink(path);
  }
}
