/**
 * A preloader: a process that has loaded an application's code once and forks its instances
 * (PROTOCOL section 10, `smart`). On its descriptor 4 it says what a single instance would, and
 * then takes orders: `fork` and three descriptors. What it forks is its own child: it reports each
 * end, and once it is gone itself we look.
 *
 * The application's code runs in it and may write to its descriptor 4. So each order is answered
 * once and each fork ends once; anything else ends the preloader, and takes nothing of ours.
 */
import { open } from "../../native/fd.ts";
import { sendDescriptor } from "../../native/descriptors.ts";
import { inTime } from "../../native/in-time.ts";
import { openPidfd } from "../../native/pidfd.ts";
import { makePipe } from "../../native/pipe.ts";
import { signals } from "../../native/process.ts";
import { send, socketPair } from "../../native/socket.ts";
import { toText, type ByteString } from "../../wire/bytes.ts";
import { encodeFork, parsePreloaderMessage } from "../../wire/instance-protocol.ts";
import { ProtocolError } from "../../wire/protocol-error.ts";
import type { LaunchCommand } from "../launch-plan.ts";
import { waitForExit } from "../process-end.ts";
import type { Survivor } from "./hand-over.ts";
import { memoryCause, type AppGroup } from "./app-group.ts";
import type { InheritedEnds } from "./instance-ends.ts";
import { survivorOf, type InstanceProcessOptions, type Urgency } from "./instance-process.ts";
import { Lifeline } from "./lifeline.ts";
import { OutputReader } from "./output.ts";
import { statOf } from "../../native/process-stat.ts";
import { lookAfter, RunningProcess, startProcess } from "./running-process.ts";

/** It leaves at once when its descriptor 4 ends; one that does not is killed after this long. */
const endMs = 1_000;

/** How often it is looked whether anything of its own is left while its instances live. */
const lookEveryMs = 500;

/** A fork that has been ordered. */
type PendingFork = Omit<PromiseWithResolvers<RunningProcess>, "promise">;

/** Another preloader could do it. */
export class PreloaderGoneError extends Error {
  override readonly name = "PreloaderGoneError";
}

export class Preloader {
  readonly pid: number;
  readonly #process: RunningProcess;
  /** On its descriptor 4. */
  readonly lifeline: Lifeline;
  readonly output: OutputReader;
  readonly #urgency: Urgency;
  readonly #group: AppGroup | undefined;
  readonly #pending = new Map<number, PendingFork>();
  readonly #diedByItself = Promise.withResolvers<string>();
  /** Resolves with how it ended, if nobody had told it to. */
  readonly diedByItself = this.#diedByItself.promise;
  /** By process id: those that it has not reported as ended. */
  readonly #forked = new Map<number, RunningProcess>();
  /** Orders given, and ends of forks that it has reported. */
  #lastFork = 0;
  #ends = 0;
  #ending: Promise<void> | undefined;
  #howEnded: Promise<string> | undefined;
  #isOver = false;

  /** Starts it. @throws Error: not even the launch command could be started. */
  constructor(
    command: LaunchCommand,
    { urgency, writeLine, group }: Omit<InstanceProcessOptions, "socketPlace">,
  ) {
    this.#urgency = urgency;
    this.#group = group;
    using nothing = open("/dev/null", "read");
    using stack = new DisposableStack();
    const [ours, theirs] = socketPair();
    stack.use(ours);
    using control = theirs;
    let pid = 0;
    const { readEnd, writeEnd } = makePipe();
    using output = writeEnd;
    const reader = new OutputReader(readEnd, (line) => writeLine(pid, line));
    stack.defer(() => reader.stop());
    this.#process = startProcess(command, { output, listener: nothing, lifeline: control });
    stack.move(); // From here on nothing throws, and both are ours to keep.
    pid = this.#process.pid;
    this.pid = pid;
    this.output = reader;
    this.lifeline = new Lifeline(ours, (elements) => this.#onMessage(elements));
    void this.#endWhenGone();
  }

  /** Resolves when it has ended. */
  get exited(): Promise<void> {
    return this.#process.exited;
  }

  /** Whether it can be asked to fork. */
  get isUsable(): boolean {
    return this.#ending === undefined && this.lifeline.number !== undefined;
  }

  /** How it ended, for a sentence: the same for all who ask, as a memory kill is taken once. */
  describeEnd(): Promise<string> {
    this.#howEnded ??= this.#describeEnd();
    return this.#howEnded;
  }

  async #describeEnd(): Promise<string> {
    await waitForExit(this.#process.exited, endMs);
    const end = this.#process.ending ?? "closed its descriptor 4";
    return this.#group?.takeMemoryKill() === true ? `${end}: ${memoryCause}` : end;
  }

  /**
   * Forks an instance, which inherits the three.
   * @throws PreloaderGoneError (as a rejection): it does not answer, or is gone. Error: it could
   * not.
   */
  async fork(inherited: InheritedEnds, ms: number): Promise<RunningProcess> {
    this.#lastFork += 1;
    const fork = this.#lastFork;
    const { promise, ...pending } = Promise.withResolvers<RunningProcess>();
    this.#pending.set(fork, pending);
    try {
      this.#order(fork, inherited);
      return await inTime(promise, ms, () => {
        throw new PreloaderGoneError("its preloader does not answer");
      });
    } catch (error) {
      // It has said nothing to that: it hangs, or what it has got of the order is only a part.
      if (this.#pending.delete(fork)) void this.end();
      throw error;
    }
  }

  #order(fork: number, { listener, lifeline, output }: InheritedEnds): void {
    const control = this.lifeline.number;
    if (control === undefined) throw new PreloaderGoneError("its preloader is gone");
    const message = encodeFork(fork);
    const isSent =
      send(control, message) === message.length &&
      [listener, lifeline, output].every(({ number }) => sendDescriptor(control, number));
    // There are never more orders under way than spawns at once: the socket has room for them.
    if (!isSent) throw new PreloaderGoneError("its preloader does not read what it is told");
  }

  /** @throws ProtocolError: nobody asked for it. */
  #takeOrdered(fork: number): PendingFork {
    const pending = this.#pending.get(fork);
    if (pending === undefined) {
      throw new ProtocolError(`preloader: fork ${fork} is not ordered, or answered already`);
    }
    this.#pending.delete(fork);
    return pending;
  }

  #onMessage(elements: ByteString[]): void {
    const message = parsePreloaderMessage(elements);
    switch (message.kind) {
      case "forked":
        this.#onForked(this.#takeOrdered(message.fork), message.pid);
        break;
      case "fork_failed": {
        const why = toText(message.message);
        this.#takeOrdered(message.fork).reject(
          new Error(`its preloader could not fork it: ${why}`),
        );
        break;
      }
      case "exited":
        this.#onExited(message.pid, message.status);
        break;
    }
  }

  #onForked(pending: PendingFork, pid: number): void {
    const known = this.#forked.get(pid);
    if (known?.hasEnded() === false) {
      const error = new ProtocolError(`preloader: process ${pid} is forked already`);
      pending.reject(error);
      throw error;
    }
    const pidfd = openPidfd(pid);
    // It may have been reaped by now, and its number be another's.
    const isThere = statOf(pid)?.parent === this.pid;
    if (!isThere) pidfd?.close();
    const forked = new RunningProcess(pid, isThere ? pidfd : undefined);
    if (forked.ending === undefined) this.#forked.set(pid, forked);
    pending.resolve(forked);
  }

  /** An end may be reported before the fork is, or of one that had ended by then. */
  #onExited(pid: number, status: number): void {
    this.#ends += 1;
    if (this.#ends > this.#lastFork) {
      throw new ProtocolError(
        `preloader: the end of process ${pid} is one more than it has forked`,
      );
    }
    this.#forked.get(pid)?.reaped(status);
    this.#forked.delete(pid);
  }

  async #endWhenGone(): Promise<void> {
    const misbehaved = this.lifeline.misbehaved.then(() => this.#process.signal(signals.SIGKILL));
    await Promise.race([this.lifeline.closedByPeer, this.#process.exited, misbehaved]);
    const isOurDoing = this.#ending !== undefined;
    const ended = this.end();
    if (!isOurDoing) this.#diedByItself.resolve(await this.describeEnd());
    await ended;
  }

  /**
   * Ends it, and the programs that the code started while it was loaded; what it has forked lives
   * on, and while that does they do. @returns when it and they have gone.
   */
  end(): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  /** For another process to see to its end; undefined when that has come. */
  async handOver(): Promise<Survivor | undefined> {
    if (this.#isOver) return undefined;
    const survivor = await survivorOf(this.#process, this.output);
    this.lifeline.close();
    return survivor;
  }

  async #end(): Promise<void> {
    this.lifeline.close();
    for (const { reject } of this.#pending.values()) {
      reject(new PreloaderGoneError("its preloader ended"));
    }
    this.#pending.clear();
    const forked = [...this.#forked.values()];
    for (const one of forked) lookAfter(one);
    this.#forked.clear();
    if (!(await waitForExit(this.#process.exited, endMs))) {
      this.#process.signal(signals.SIGKILL);
      await waitForExit(this.#process.exited, endMs);
    }
    const { times, shutdown, hurry } = this.#urgency;
    const { group } = this.#process;
    const ends = Promise.all(forked.map(({ exited }) => exited));
    // What runs in its group may be ending just now, or end before the instances do.
    while (!shutdown.aborted && (await group?.isThere())) {
      if (await waitForExit(ends, lookEveryMs, shutdown)) break;
    }
    await group?.end(times.terminatedMs, hurry);
    await this.output.untilWritten();
    this.output.stop();
    this.#isOver = true;
  }
}
