/**
 * One instance of the built-in spawner, from the start of its process to its last sign of life: its
 * lifeline, its output, its socket, and how it is made to go. Once it is ready the driver has it.
 *
 * It inherits exactly five descriptors: /dev/null, its output pipe twice, its listening socket and
 * its lifeline. Its socket has no name any more when it starts: only we can connect to it.
 */
import { errnos, SyscallError } from "../../native/errno.ts";
import { duplicate } from "../../native/fd.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { signals } from "../../native/process.ts";
import type { ByteString } from "../../wire/bytes.ts";
import { encodeStack, parseLifelineMessage } from "../../wire/instance-protocol.ts";
import { ProtocolError } from "../../wire/protocol-error.ts";
import { waitForExit } from "../process-end.ts";
import type { Instance, SessionReports } from "../spawner.ts";
import type { Survivor } from "./hand-over.ts";
import { memoryCause, type AppGroup } from "./app-group.ts";
import { withEnds, type InheritedEnds, type OwnEnds, type SocketPlace } from "./instance-ends.ts";
import { Lifeline, type Ready } from "./lifeline.ts";
import type { OutputReader } from "./output.ts";
import type { SessionSocket, Way } from "./program/way.ts";
import type { RunningProcess } from "./running-process.ts";

/** How long its exit is waited for: of a fork, a preloader has to tell, and may be busy. */
const exitMs = 1_000;

const killedMs = 1_000;

/** What is kept of what an instance writes in the milliseconds until its process is known. */
const maxEarlyLines = 100;

/** How long an instance that is given up has to say where it is stuck (PROTOCOL section 9). */
const stackMs = 1_000;

/**
 * How long the other threads of one that is given up have: as long as its own loader gives them
 * when it is told to leave.
 */
const othersMs = 10_000;

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
  /** Is told of each instance that is to end, while it is still there. */
  readonly ending?: (pid: number) => void;
}

export interface InstanceProcessOptions {
  /** Where its socket is bound; of a program, which knows no lifeline: how it is reached. */
  readonly socketPlace: SocketPlace | Way;
  readonly urgency: Urgency;
  readonly writeLine: (pid: number, line: ByteString) => void;
  /** The control group that it is in, with all others of its application. */
  readonly group?: AppGroup | undefined;
}

/** Makes an instance of a process that `start` begins. */
export async function makeInstance(
  options: InstanceProcessOptions,
  start: (inherited: InheritedEnds) => Promise<RunningProcess> | RunningProcess,
): Promise<InstanceProcess> {
  let pid = 0;
  const early: ByteString[] = [];
  // What a preloader has forked may write before that says which process it is.
  const writeLine = (line: ByteString) =>
    pid === 0 ? early.length < maxEarlyLines && early.push(line) > 0 : options.writeLine(pid, line);
  const { started, own } = await withEnds(options.socketPlace, writeLine, async (inherited) => {
    const running = await start(inherited);
    pid = running.pid;
    for (const line of early) options.writeLine(pid, line);
    return running;
  });
  return new InstanceProcess(started, own, options);
}

export class InstanceProcess implements Instance, SessionReports {
  readonly pid: number;
  readonly #process: RunningProcess;
  readonly #socket: SessionSocket;
  readonly lifeline: Lifeline;
  readonly output: OutputReader;
  readonly #urgency: Urgency;
  /** It is a program: it says nothing on its lifeline, which ends when it begins. */
  readonly speaksHttp: boolean;
  /** Resolves when the process has exited, or has closed its end of the lifeline or misused it. */
  readonly death: Promise<void>;
  user: string | undefined;
  concurrency = 1;
  reports: SessionReports | undefined;
  /** What is stuck in it is one of several threads, not all there is. */
  #hasThreads = false;
  readonly #released = Promise.withResolvers<void>();
  #isReleased = false;
  onDone: ((sessions: number) => void) | undefined;
  /** Sessions connected that it has not said to be done with. */
  #undone = 0;
  #ending: Promise<void> | undefined;
  #isOver = false;
  readonly #group: AppGroup | undefined;
  /** Whether the kernel has ended it, since its application has used up its memory. */
  isOutOfMemory = false;

  constructor(
    process: RunningProcess,
    own: OwnEnds,
    { urgency, group, socketPlace }: InstanceProcessOptions,
  ) {
    this.pid = process.pid;
    this.#process = process;
    this.speaksHttp = !("name" in socketPlace);
    this.#urgency = urgency;
    this.#group = group;
    this.#socket = own.socket;
    this.output = own.output;
    this.lifeline = new Lifeline(own.lifeline, (elements) => this.#onMessage(elements));
    const { closedByPeer, misbehaved } = this.lifeline;
    const lost = this.speaksHttp ? [] : [closedByPeer];
    this.death = Promise.race([...lost, process.exited, misbehaved.then(() => this.kill())]);
    void this.#endWhenGone();
  }

  /** It is ready: what the driver has to know of it. */
  serves(ready: Ready, user: string | undefined, hasThreads: boolean): this {
    this.user = user;
    this.concurrency = ready.concurrency;
    this.reports = ready.reportsDone ? this : undefined;
    this.#hasThreads = hasThreads && ready.concurrency > 1;
    return this;
  }

  /** Whether it has said to be done with all sessions that were connected. */
  get isDone(): boolean {
    return this.#undone === 0;
  }

  hear(): void {
    if (this.#undone > 0) this.lifeline.hear();
  }

  #onMessage(elements: ByteString[]): void {
    const message = parseLifelineMessage(elements);
    const sessions = message.kind === "done" ? message.sessions : Infinity;
    if (sessions > this.#undone) {
      const what = message.kind === "done" ? `'done' of ${sessions} sessions` : `'${message.kind}'`;
      throw new ProtocolError(`lifeline: ${what}, while ${this.#undone} are not done`);
    }
    this.#undone -= sessions;
    this.onDone?.(sessions);
  }

  async #endWhenGone(): Promise<void> {
    await this.death;
    if (this.#ending === undefined) this.isOutOfMemory = this.#group?.takeMemoryKill() ?? false;
    await this.end(this.#urgency.times.terminatedMs);
  }

  /** Whether its end has been seen. */
  get hasEnded(): boolean {
    return this.#process.ending !== undefined;
  }

  /** As connectUnix. An instance that is on its way out refuses. */
  connect(): OwnedFd | "full" {
    if (this.#isReleased) throw new Error(`instance ${this.pid}: connect after release`);
    if (this.#ending !== undefined) {
      throw new SyscallError("connect", `instance ${this.pid}`, errnos.ECONNREFUSED);
    }
    const stream = this.#socket.connect();
    if (stream !== "full") this.#undone += 1;
    return stream;
  }

  /** How it ended, for a sentence: waits a moment, since its lifeline goes a little before it. */
  async describeEnd(): Promise<string> {
    await waitForExit(this.#process.exited, exitMs);
    const end = this.#process.ending ?? "closed its lifeline";
    return this.isOutOfMemory ? `${end}: ${memoryCause}` : end;
  }

  /** Ends it at once, with all of its process group. */
  kill(): void {
    this.#process.signal(signals.SIGKILL);
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

  /** Asks for its stack, and ends it soon: with threads once its other requests are over. */
  giveUp(): void {
    this.#isReleased = true;
    this.#ending ??= this.#giveUp();
  }

  release(leaveMs = this.#urgency.times.retiredMs): void {
    this.#isReleased = true;
    this.#released.resolve();
    void this.end(leaveMs);
  }

  showStack(): void {
    if (this.#ending === undefined) this.lifeline.tell(encodeStack());
  }

  async #giveUp(): Promise<void> {
    const { exited } = this.#process;
    const { hurry, shutdown } = this.#urgency;
    if (this.lifeline.tell(encodeStack())) await waitForExit(exited, stackMs, hurry);
    // A stuck event loop serves nobody else.
    if (this.#hasThreads) {
      await waitForExit(Promise.race([exited, this.#released.promise]), othersMs, shutdown);
    }
    await this.#end(0);
  }

  async #end(retiredMs: number): Promise<void> {
    this.#urgency.ending?.(this.pid);
    this.lifeline.close();
    this.#socket.close();
    if (this.speaksHttp) await endByForce(this.#process, this.#urgency);
    else await endRunning(this.#process, this.#urgency, retiredMs);
    const { times, hurry } = this.#urgency;
    const { group } = this.#process;
    await group?.end(times.terminatedMs, hurry);
    this.#socket.remove?.();
    this.#isOver = true;
  }

  /** For another process to see to its end; undefined when that has come. */
  async handOver(): Promise<Survivor | undefined> {
    return this.#isOver ? undefined : survivorOf(this.#process, this.output);
  }
}

/** Waits for the end of a process that was told to leave, with force if need be. */
export async function endRunning(
  running: RunningProcess,
  urgency: Urgency,
  retiredMs: number,
): Promise<void> {
  const { exited } = running;
  const { times, shutdown, hurry } = urgency;
  if (await waitForExit(exited, retiredMs, shutdown)) return;
  if (shutdown.aborted && (await waitForExit(exited, times.shutdownMs, hurry))) return;
  await endByForce(running, urgency);
}

/** SIGTERM is the word by which a program is told to leave; then SIGKILL. */
async function endByForce(running: RunningProcess, { times, hurry }: Urgency): Promise<void> {
  const { exited } = running;
  running.signal(signals.SIGTERM);
  if (await waitForExit(exited, times.terminatedMs, hurry)) return;
  running.signal(signals.SIGKILL);
  // The kernel needs a moment; a process it cannot end must not hold us up for ever.
  await waitForExit(exited, killedMs);
}

/** What another process needs to see to the end of one; undefined: there is no pidfd of it. */
export async function survivorOf(
  { pid, group }: RunningProcess,
  output: OutputReader,
): Promise<Survivor | undefined> {
  if (group === undefined) return undefined;
  const leader = duplicate(group.leader);
  return { pid, leader, output: await output.handOver() };
}
