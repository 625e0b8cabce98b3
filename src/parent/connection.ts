/**
 * PoolConnection: one multiplexed client of the pool server. Any number of gets wait side by side;
 * each carries a tag and is settled when its reply comes. Rules:
 * - Session descriptors arrive on the channel, each before its `ok`: when the `ok` is read, a
 *   receive that does not wait cannot miss.
 * - Untagged commands are answered in their order (#answers). Tags are never used twice, so a reply
 *   with a tag nobody waits for answers a get that was cancelled too late: its session is closed at
 *   once.
 * - The server ends a client with too many commands waiting, so gets beyond a window are held here.
 * - When the connection ends, everything pending is rejected, once, with the reason.
 */
import type { Socket } from "bun";
import { DescriptorError, receiveDescriptor } from "../native/descriptors.ts";
import { SyscallError } from "../native/errno.ts";
import { putOnEventLoop } from "../native/event-loop.ts";
import { peerPid } from "../native/peer.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { toText, type ByteString } from "../wire/bytes.ts";
import { encodeCommand, MAX_IDLE_SECONDS, MAX_POOL_SIZE, type Command } from "../wire/commands.ts";
import { encodeConfigureOptions, type InstanceOptions } from "../wire/configure.ts";
import { ProtocolError } from "../wire/protocol-error.ts";
import { Application, rootBytes, type ApplicationOptions } from "./application.ts";
import { AwaitedAnswers, type ReadAnswer } from "./awaited-answers.ts";
import { BusyError, ConfigureError, PoolIOError } from "./errors.ts";
import { type Inspection, parseInspection } from "../wire/inspection.ts";
import { SessionLines } from "./session-lines.ts";
import { SendBuffer } from "./send-buffer.ts";
import { PendingGets, type PendingGet } from "./pending-gets.ts";
import { PooledRequest, type PoolRequest } from "./pooled-request.ts";
import * as refusals from "./refusals.ts";
import { frameable, prepareRequest } from "./request.ts";
import type { SessionResponse } from "./response.ts";
import { ReplyStream, type StreamReply } from "./reply-stream.ts";
import { Session, type SessionCommand } from "./session.ts";
import type { ChannelledConnection } from "./wake-socket.ts";

export interface GetOptions {
  /**
   * Withdraws the get: the promise rejects with the signal's reason, a session that still comes is
   * closed.
   */
  readonly signal?: AbortSignal | undefined;
}

export class PoolConnection implements Disposable {
  readonly #channel: OwnedFd;
  /** The process that made the connection: the server. */
  readonly #serverPid: number;
  #socket: Socket<PoolConnection> | undefined;
  readonly #replies = new ReplyStream();
  readonly #gets = new PendingGets((frame) => this.#send(frame));
  readonly #answers = new AwaitedAnswers();
  readonly #closed = Promise.withResolvers<void>();
  readonly #unsent = new SendBuffer(() => this.#fail(refusals.stoppedReading));
  /** From the first request on. */
  #keeping: Promise<SessionLines> | undefined;
  #kept: SessionLines | undefined;
  /** Once the connection has ended: the error for whatever is asked of it. */
  #ended: refusals.EndReason | undefined;

  static readonly #handlers = {
    data: (socket: Socket<PoolConnection>, chunk: Buffer) => socket.data.#receive(chunk),
    drain: (socket: Socket<PoolConnection>) => socket.data.#unsent.drained(socket),
    close: (socket: Socket<PoolConnection>) => socket.data.#fail(refusals.closedByServer),
    // An error is followed by close, which does what has to be done.
    error: () => {},
  };

  private constructor(descriptors: ChannelledConnection) {
    this.#channel = descriptors.channel;
    this.#serverPid = peerPid(descriptors.connection.number);
  }

  /** Takes both descriptors over and puts the connection on the event loop. */
  static async open(descriptors: ChannelledConnection): Promise<PoolConnection> {
    const opened = new PoolConnection(descriptors);
    try {
      const options = { data: opened, socket: PoolConnection.#handlers };
      opened.#socket = await putOnEventLoop(descriptors.connection, options);
    } catch (error) {
      descriptors.channel.close();
      throw error;
    }
    return opened;
  }

  /** Resolves once the connection has ended, for whatever reason. Never rejects. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Whether the connection can be used. */
  get isOpen(): boolean {
    return this.#ended === undefined;
  }

  /**
   * A session with an instance of the application; waits as long as the pool's rules make it wait.
   * Close the session when the request is over: until then its instance counts as busy.
   * @throws SpawnError, BusyError, PoolIOError, ServerGoneError, or the signal's reason (as
   * rejections).
   */
  get(app: Application | ApplicationOptions | string, options: GetOptions = {}): Promise<Session> {
    const application = app instanceof Application ? app : new Application(app);
    const { signal } = options;
    if (this.#ended !== undefined) return Promise.reject(this.#ended(refusals.getOf(application)));
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    if (!this.#gets.hasRoom) {
      const what = refusals.getOf(application);
      return Promise.reject(new BusyError(`${what}: too many gets wait on this connection`));
    }
    return new Promise((resolve, reject) => {
      const command = "getTagged";
      const get: PendingGet = { application, command, resolve, reject, tag: "", bytes: 0 };
      if (signal !== undefined) this.#abortOn(signal, get);
      this.#gets.add(get);
    });
  }

  /**
   * Sends one request to an instance of the application and resolves with the head of its answer.
   * Sessions are kept for further requests where the server's instances know of that (those of its
   * built-in spawner do), so that under load a request costs no trip to the pool. A response has to
   * be read to its end or cancelled. An idempotent request without a body, or with one of bytes, is
   * repeated when the instance ended before it answered anything.
   * @throws SpawnError, BusyError, PoolIOError, ServerGoneError, SessionError, AnswerTimeoutError,
   * the signal's reason, TypeError and RangeError for headers that cannot be sent (as rejections).
   */
  async request(
    app: Application | ApplicationOptions | string,
    options: PoolRequest,
  ): Promise<SessionResponse> {
    const application = app instanceof Application ? app : new Application(app);
    const prepared = prepareRequest(options);
    if (!frameable(prepared.block)) throw new RangeError("request: its headers exceed 128 KiB");
    const kept = this.#kept ?? (await (this.#keeping ??= this.#startKeeping()));
    if (this.#ended !== undefined) throw this.#ended(refusals.getOf(application));
    return new Promise((resolve, reject) => {
      const settle = { resolve, reject };
      kept.serve(application, new PooledRequest(kept, application, prepared, options, settle));
    });
  }

  /**
   * Asks what the first request would ask otherwise. @throws PoolIOError when no answer comes in
   * time: then the connection is closed; ServerGoneError (as rejections).
   */
  async prepare(limitMs: number): Promise<void> {
    const timer = setTimeout(() => this.#fail(refusals.silent(limitMs)), limitMs);
    await (this.#keeping ??= this.#startKeeping()).finally(() => clearTimeout(timer));
  }

  /** Where a front end with a machine of its own takes sessions; undefined before `prepare`. */
  get sessions(): SessionLines | undefined {
    return this.#kept;
  }

  /** The most instances there may be, 1 to 100,000. */
  setMax(max: number): void {
    checkRange("setMax", max, 1, MAX_POOL_SIZE);
    this.#tell({ kind: "setMax", max });
  }

  /** The most instances of one application, 0 (no limit) to 100,000. */
  setMaxPerApp(maxPerApp: number): void {
    checkRange("setMaxPerApp", maxPerApp, 0, MAX_POOL_SIZE);
    this.#tell({ kind: "setMaxPerApp", maxPerApp });
  }

  /** How long an instance may be idle, in seconds. */
  setMaxIdleTime(seconds: number): void {
    checkRange("setMaxIdleTime", seconds, 0, MAX_IDLE_SECONDS);
    this.#tell({ kind: "setMaxIdleTime", seconds });
  }

  /** Whether gets wait for a free instance instead of queueing in a busy one. */
  setUseGlobalQueue(useGlobalQueue: boolean): void {
    this.#tell({ kind: "setUseGlobalQueue", useGlobalQueue });
  }

  /** Makes all instances leave the pool; open sessions go on. */
  clear(): void {
    this.#tell({ kind: "clear" });
  }

  /** Instances with at least one session. */
  getActive(): Promise<number> {
    return this.#askNumber("getActive");
  }

  /** Instances. */
  getCount(): Promise<number> {
    return this.#askNumber("getCount");
  }

  /**
   * The spawn server's process; 0 while there is none; the pool server's own with the built-in
   * spawner.
   */
  getSpawnServerPid(): Promise<number> {
    return this.#askNumber("getSpawnServerPid");
  }

  /** Everything there is to know about the pool at this moment. */
  inspect(): Promise<Inspection> {
    return this.#ask(encodeCommand({ kind: "inspect" }), "inspect", (reply) =>
      reply.kind === "snapshot" ? { value: parseInspection(reply.json) } : undefined,
    );
  }

  /**
   * Options for the instances of the application that are spawned from now on, until configured
   * anew; `{}` clears them. @throws ConfigureError (as a rejection) when the server does not take
   * them.
   */
  configure(root: string | Uint8Array, options: InstanceOptions): Promise<void> {
    const command = encodeCommand({ kind: "configure", root: rootBytes(root) });
    const frame = Buffer.concat([command, encodeConfigureOptions(options)]);
    return this.#ask<void>(frame, "configure", (reply) => {
      if (reply.kind === "error") return new ConfigureError(toText(reply.message));
      return reply.kind === "ok" ? done : undefined;
    });
  }

  /** Lets the process end although the connection is open; `ref` undoes it. */
  unref(): void {
    this.#socket?.unref();
  }

  ref(): void {
    this.#socket?.ref();
  }

  /**
   * Ends the connection. What waits is rejected; the server takes its sessions back, but streams
   * that are open go on.
   */
  close(): void {
    this.#fail(refusals.closedHere);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  readonly #send = (frame: Uint8Array): void => {
    if (this.#socket !== undefined) this.#unsent.push(frame, this.#socket);
  };

  /** Every session's way to tell the pool. */
  readonly #tellOfSession = (command: SessionCommand): void => {
    if (this.#ended === undefined) this.#send(encodeCommand(command));
  };

  /** The server's instances know of kept sessions if they are its own spawner's. */
  async #startKeeping(): Promise<SessionLines> {
    const spawnServerPid = await this.getSpawnServerPid().catch((error: unknown) => {
      this.#keeping = undefined; // the next request asks again
      throw error;
    });
    this.#kept = new SessionLines(
      {
        ask: (get) => this.#gets.add(get),
        withdraw: (get) => this.#withdraw(get),
        keep: (sessionId) => this.#send(encodeCommand({ kind: "keep", sessionId })),
      },
      spawnServerPid !== 0 && spawnServerPid === this.#serverPid,
    );
    return this.#kept;
  }

  #withdraw(get: PendingGet): void {
    const tag = get.tag as ByteString;
    if (this.#gets.withdraw(get)) this.#send(encodeCommand({ kind: "cancel", tag }));
  }

  #tell(command: Command): void {
    if (this.#ended !== undefined) throw this.#ended(command.kind);
    this.#send(encodeCommand(command));
  }

  #askNumber(kind: "getActive" | "getCount" | "getSpawnServerPid"): Promise<number> {
    return this.#ask(encodeCommand({ kind }), kind, (reply) =>
      reply.kind === "decimal" ? { value: reply.value } : undefined,
    );
  }

  #ask<T>(frame: Uint8Array, what: string, read: ReadAnswer<T>): Promise<T> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended(what));
    if (!this.#answers.hasRoom) {
      return Promise.reject(new BusyError(`${what}: too many questions wait on this connection`));
    }
    const answer = this.#answers.next(what, what === "inspect", read);
    this.#send(frame);
    return answer;
  }

  #abortOn(signal: AbortSignal, get: PendingGet): void {
    const abort = (): void => {
      this.#withdraw(get);
      get.reject(signal.reason);
    };
    signal.addEventListener("abort", abort, { once: true });
    get.detach = () => signal.removeEventListener("abort", abort);
  }

  #receive(chunk: Buffer): void {
    try {
      this.#replies.push(chunk);
      while (this.#ended === undefined) {
        const reply = this.#replies.next(this.#answers.awaitsSnapshot);
        if (reply === undefined) return;
        this.#settle(reply);
      }
    } catch (cause) {
      const isTheirs = cause instanceof ProtocolError || cause instanceof SyscallError;
      if (!isTheirs) throw cause;
      this.#fail(refusals.broken(cause));
    }
  }

  #settle(reply: StreamReply): void {
    switch (reply.kind) {
      case "session":
        return this.#granted(reply);
      case "refusal":
        return this.#refused(reply);
      case "recall":
        return this.#kept?.recall(reply.sessionId);
      case "ok":
      case "error":
      case "decimal":
      case "snapshot":
        return this.#answers.settle(reply);
    }
  }

  #granted(reply: Extract<StreamReply, { kind: "session" }>): void {
    if (reply.tag === undefined) throw new ProtocolError("a session that no tagged get asked for");
    const stream = this.#receiveStream();
    const get = this.#gets.answered(reply.tag);
    if (get !== undefined && !(stream instanceof DescriptorError)) {
      const { pid, sessionId, speaksHttp, key } = reply;
      const known = { speaksHttp, instanceKey: key };
      get.resolve(new Session(pid, sessionId, stream, this.#tellOfSession, known));
      return;
    }
    // Cancelled too late, or its descriptor was lost: either way nobody has the session.
    this.#tellOfSession({ kind: "close", sessionId: reply.sessionId });
    if (!(stream instanceof DescriptorError)) return stream.close();
    get?.reject(
      new PoolIOError(`${refusals.getOf(get.application)}: ${stream.message}`, { cause: stream }),
    );
  }

  #receiveStream(): OwnedFd | DescriptorError {
    try {
      const received = receiveDescriptor(this.#channel.number);
      if (received !== "empty" && received !== "end") return received;
      throw new ProtocolError("an ok without a descriptor on the channel before it");
    } catch (error) {
      if (error instanceof DescriptorError) return error;
      throw error;
    }
  }

  #refused(reply: refusals.RefusalReply): void {
    if (reply.tag === undefined) throw new ProtocolError("a refusal that no tagged get asked for");
    this.#gets.answered(reply.tag)?.reject(refusals.refusalError(reply));
  }

  /** Ends everything, once. */
  #fail(why: refusals.EndReason): void {
    if (this.#ended !== undefined) return;
    this.#ended = why;
    const socket = this.#socket;
    if (socket !== undefined) {
      this.#unsent.flush(socket);
      socket.end();
    }
    this.#channel.close();
    this.#kept?.end(why);
    for (const get of this.#gets.takeAll()) get.reject(why(refusals.getOf(get.application)));
    this.#answers.rejectAll(why);
    this.#closed.resolve();
  }
}

const done = { value: undefined };

function checkRange(what: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new RangeError(`${what}: ${value} is no whole number from ${min} to ${max}`);
}
