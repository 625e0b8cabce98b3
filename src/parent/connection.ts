/**
 * PoolConnection: one multiplexed client of the pool server. Any number of gets wait side by side;
 * each carries a tag and is settled when its reply comes. Rules:
 * - Session descriptors arrive on the channel, each before its `ok`: when the `ok` is read, a
 *   receive that does not wait cannot miss.
 * - Tags are never used twice, so a reply with a tag nobody waits for answers a get that was
 *   cancelled too late: its session is closed at once.
 * - The server ends a client with too many commands waiting, so gets beyond a window are held here.
 * - When the connection ends, everything pending is rejected, once, with the reason.
 */
import { DescriptorError, receiveDescriptor } from "../native/descriptors.ts";
import { peerPid } from "../native/peer.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { ascii } from "../wire/bytes.ts";
import { MAX_IDLE_SECONDS, MAX_POOL_SIZE } from "../wire/commands.ts";
import { encodeConfigureOptions, type InstanceOptions } from "../wire/configure.ts";
import type { Inspection } from "../wire/inspection.ts";
import { ProtocolError } from "../wire/protocol-error.ts";
import { Application, rootBytes, type ApplicationOptions } from "./application.ts";
import { CommandStream, type SessionReply } from "./command-stream.ts";
import { BusyError, PoolIOError } from "./errors.ts";
import { SessionLines } from "./session-lines.ts";
import { PendingGets, type PendingGet } from "./pending-gets.ts";
import { PooledRequest, type PoolRequest, type RequestHost } from "./pooled-request.ts";
import * as refusals from "./refusals.ts";
import { prepareRequest } from "./request.ts";
import type { SessionResponse } from "./response.ts";
import { Session, type SessionCommand } from "./session.ts";
import type { ChannelledConnection } from "./wake-socket.ts";

export interface GetOptions {
  /** Withdraws the get: it rejects with the signal's reason; a session that comes is closed. */
  readonly signal?: AbortSignal | undefined;
}

export class PoolConnection implements Disposable {
  readonly #channel: OwnedFd;
  /** The process that made the connection: the server. */
  readonly #serverPid: number;
  readonly #stream = new CommandStream({
    told: (reply) => this.#told(reply),
    ended: (why) => this.#end(why),
  });
  readonly #gets = new PendingGets((frame) => this.#stream.send(frame));
  readonly #closed = Promise.withResolvers<void>();
  /** Resolves once the connection has ended, for whatever reason. Never rejects. */
  readonly closed = this.#closed.promise;
  /** From the first request on. */
  #keeping: Promise<SessionLines> | undefined;
  #kept: SessionLines | undefined;

  private constructor(descriptors: ChannelledConnection) {
    this.#channel = descriptors.channel;
    this.#serverPid = peerPid(descriptors.connection.number);
  }

  /** Takes both descriptors over and puts the connection on the event loop. */
  static async open(descriptors: ChannelledConnection): Promise<PoolConnection> {
    const opened = new PoolConnection(descriptors);
    try {
      await opened.#stream.attach(descriptors.connection);
    } catch (error) {
      descriptors.channel.close();
      throw error;
    }
    return opened;
  }

  /** Whether the connection can be used. */
  get isOpen(): boolean {
    return this.#stream.whyEnded === undefined;
  }

  /**
   * A session with an instance of the application; waits as long as the pool's rules make it wait.
   * Close the session when the request is over: until then its instance counts as busy.
   * @throws SpawnError, BusyError, PoolIOError, ServerGoneError, the signal's reason (rejections).
   */
  get(app: Application | ApplicationOptions | string, options: GetOptions = {}): Promise<Session> {
    const application = app instanceof Application ? app : new Application(app);
    const { signal } = options;
    const { whyEnded } = this.#stream;
    if (whyEnded !== undefined) return Promise.reject(whyEnded(refusals.getOf(application)));
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    if (!this.#gets.hasRoom) {
      const what = refusals.getOf(application);
      return Promise.reject(new BusyError(`${what}: too many gets wait on this connection`));
    }
    return new Promise((resolve, reject) => {
      const command = "getTagged";
      const get: PendingGet = { application, command, resolve, reject, id: 0, bytes: 0 };
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
    const kept = this.#kept ?? (await (this.#keeping ??= this.#startKeeping()));
    const { whyEnded } = this.#stream;
    if (whyEnded !== undefined) throw whyEnded(refusals.getOf(application));
    const request = new PooledRequest(hostOf(application, kept), prepared, options);
    kept.serve(application, request);
    return request.answer;
  }

  /**
   * Asks what the first request would ask otherwise. @throws PoolIOError when no answer comes in
   * time: then the connection is closed; ServerGoneError (as rejections).
   */
  async prepare(limitMs: number): Promise<void> {
    const timer = setTimeout(() => this.#stream.end(refusals.silent(limitMs)), limitMs);
    await (this.#keeping ??= this.#startKeeping()).finally(() => clearTimeout(timer));
  }

  /** Where a front end with a machine of its own takes sessions; undefined before `prepare`. */
  get sessions(): SessionLines | undefined {
    return this.#kept;
  }

  /** The most instances there may be, 1 to 100,000. */
  setMax(max: number): void {
    checkRange("setMax", max, 1, MAX_POOL_SIZE);
    this.#stream.tell({ kind: "setMax", max });
  }

  /** The most instances of one application, 0 (no limit) to 100,000. */
  setMaxPerApp(maxPerApp: number): void {
    checkRange("setMaxPerApp", maxPerApp, 0, MAX_POOL_SIZE);
    this.#stream.tell({ kind: "setMaxPerApp", maxPerApp });
  }

  /** How long an instance may be idle, in seconds. */
  setMaxIdleTime(seconds: number): void {
    checkRange("setMaxIdleTime", seconds, 0, MAX_IDLE_SECONDS);
    this.#stream.tell({ kind: "setMaxIdleTime", seconds });
  }

  /** Whether gets wait for a free instance instead of queueing in a busy one. */
  setUseGlobalQueue(useGlobalQueue: boolean): void {
    this.#stream.tell({ kind: "setUseGlobalQueue", useGlobalQueue });
  }

  /** Makes all instances leave the pool; open sessions go on. */
  clear(): void {
    this.#stream.tell({ kind: "clear" });
  }

  /** Instances with at least one session. */
  getActive(): Promise<number> {
    return this.#stream.askForNumber({ kind: "getActive" });
  }

  /** Instances. */
  getCount(): Promise<number> {
    return this.#stream.askForNumber({ kind: "getCount" });
  }

  /** The spawn server's process; 0: there is none; the pool server: it is the built-in spawner. */
  getSpawnServerPid(): Promise<number> {
    return this.#stream.askForNumber({ kind: "getSpawnServerPid" });
  }

  /** Everything there is to know about the pool at this moment. */
  inspect(): Promise<Inspection> {
    return this.#stream.askForJson({ kind: "inspect" });
  }

  /**
   * Options for the instances of the application that are spawned from now on, until configured
   * anew; `{}` clears them. @throws ConfigureError (as a rejection): the server does not take them.
   */
  configure(root: string | Uint8Array, options: InstanceOptions): Promise<void> {
    const command = { kind: "configure", root: rootBytes(root) } as const;
    return this.#stream.ask(command, encodeConfigureOptions(options));
  }

  /** Lets the process end although the connection is open; `ref` undoes it. */
  unref(): void {
    this.#stream.socket?.unref();
  }

  ref(): void {
    this.#stream.socket?.ref();
  }

  /** Ends the connection. What waits is rejected, sessions are given back; open streams go on. */
  close(): void {
    this.#stream.end(refusals.closedHere);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Every session's way to tell the pool. */
  readonly #tellOfSession = (command: SessionCommand): void => {
    if (this.isOpen) this.#stream.send(command);
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
        keep: (sessionId) => this.#stream.send({ kind: "keep", sessionId }),
      },
      spawnServerPid !== 0 && spawnServerPid === this.#serverPid,
    );
    return this.#kept;
  }

  #withdraw(get: PendingGet): void {
    const tag = ascii(String(get.id));
    if (this.#gets.withdraw(get)) this.#stream.send({ kind: "cancel", tag });
  }

  #abortOn(signal: AbortSignal, get: PendingGet): void {
    const abort = (): void => {
      this.#withdraw(get);
      get.reject(signal.reason);
    };
    signal.addEventListener("abort", abort, { once: true });
    get.detach = () => signal.removeEventListener("abort", abort);
  }

  #told(reply: SessionReply): void {
    switch (reply.kind) {
      case "session":
        return this.#granted(reply);
      case "refusal":
        if (reply.tag === undefined) {
          throw new ProtocolError("a refusal that no tagged get asked for");
        }
        return this.#gets.answered(reply.tag)?.reject(refusals.refusalError(reply));
      case "recall":
        return this.#kept?.recall(reply.sessionId);
    }
  }

  #granted(reply: Extract<SessionReply, { kind: "session" }>): void {
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

  #end(why: refusals.EndReason): void {
    this.#channel.close();
    this.#kept?.end(why);
    for (const get of this.#gets.takeAll()) get.reject(why(refusals.getOf(get.application)));
    this.#closed.resolve();
  }
}

function hostOf(application: Application, lines: SessionLines): RequestHost {
  return {
    get: refusals.getOf(application),
    hasMore: true,
    outlives: () => false,
    take: (waiter) => lines.take(application, waiter),
    leave: (waiter) => lines.leave(application, waiter),
    settled: (request) => lines.settled(request),
  };
}

function checkRange(what: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new RangeError(`${what}: ${value} is no whole number from ${min} to ${max}`);
}
