/**
 * One client: a connection, its commands in order, its sessions.
 *
 * Rules (PROTOCOL sections 3, 9 and 11):
 * - Commands are carried out one after the other, as they arrive; an untagged `get` that must wait
 *   holds back what follows it, but for `close` and `keep` of an open session and `cancel`, which
 *   take effect all the same.
 * - Whatever ends the client (EOF, an error, a wrong command, too much waiting or unread) goes
 *   through `end`: its gets are withdrawn, its sessions given back, its descriptors closed.
 * - A wrong command ends only its client, after the commands before it, with one warning.
 */
import type { OwnedFd } from "../native/owned-fd.ts";
import { receive } from "../native/socket.ts";
import type { GetRefusal, SessionId } from "../pool/types.ts";
import type { AppRequest } from "../wire/app-request.ts";
import { escapeForLog, type ByteString } from "../wire/bytes.ts";
import { causeText } from "../wire/cause.ts";
import type { TaggedGet } from "../wire/commands.ts";
import { encodePlainOk } from "../wire/replies.ts";
import { ClientGet, encodeRefused, notRegistered, onlyHttp, type Grantor } from "./client-get.ts";
import { CommandQueue, type Arrival } from "./command-queue.ts";
import { openDescriptorChannel, type DescriptorChannel } from "./descriptor-channel.ts";
import type { Log } from "../logging/log.ts";
import { carryOutOrder, type OrderContext } from "./orders.ts";
import { Outbox } from "./outbox.ts";
import type { Rights } from "./rights.ts";

export interface ClientContext extends OrderContext {
  readonly log: Log;
  readonly rights: Rights;
  /** The client is over: forget it. */
  readonly ended: (client: Client) => void;
}

type ClientSocket = Bun.Socket<Client>;

/** What is read of a client at once when it is to be ended; the rest has its turn later. */
const lastBytes = 64 * 1024;

export class Client {
  readonly number: number;
  readonly #fd: number;
  readonly #context: ClientContext;
  /** Both once it has said something: most clients are idle, and then cost next to nothing. */
  #replies: Outbox | undefined;
  #commands: CommandQueue | undefined;
  #connection: ClientSocket | undefined;
  #channel: ClientSocket | undefined;
  #hasChannel = false;
  /** The command at hand waits. */
  #busy = false;
  /** The untagged get at hand. */
  #waiting: ClientGet | undefined;
  #waitingDone: (() => void) | undefined;
  #tagged: Map<ByteString, ClientGet> | undefined;
  #sessions: Map<number, SessionId> | undefined;
  #nextSessionId = 0;
  #ended = false;

  /** @param fd the server's end of the connection; Bun's socket owns it. */
  constructor(number: number, fd: number, context: ClientContext) {
    this.number = number;
    this.#fd = fd;
    this.#context = context;
  }

  get #outbox(): Outbox {
    this.#replies ??= new Outbox(
      this.#fd,
      () => this.end("its unread output exceeds 1 MiB"),
      (error) => this.end(undefined, error),
    );
    return this.#replies;
  }

  get #queue(): CommandQueue {
    this.#commands ??= new CommandQueue(this.#context.rights);
    return this.#commands;
  }

  /** The connection is on the event loop. */
  attach(connection: ClientSocket): void {
    this.#connection = connection;
    if (this.#ended) connection.terminate();
  }

  /** The most important thing of it that is under way, as far as the event loop has read. */
  get underWay(): "get" | "reply" | "session" | undefined {
    if (this.#busy || (this.#tagged?.size ?? 0) > 0) return "get";
    if (this.#replies?.empty === false) return "reply";
    return (this.#sessions?.size ?? 0) > 0 ? "session" : undefined;
  }

  /** Carries out what has arrived that the event loop has not read; ends the client if nothing. */
  finish(): void {
    if (!this.#readNow()) this.end();
  }

  /** What has arrived by now is carried out; gets that come later are not answered. */
  lastCall(): void {
    this.#readNow();
    this.#queue.takeNoGets();
  }

  /** @returns whether there was anything. */
  #readNow(): boolean {
    try {
      const chunk = receive(this.#fd, lastBytes);
      if (typeof chunk === "string") return false;
      this.receive(chunk);
    } catch (error) {
      this.end(undefined, error);
    }
    return true;
  }

  /** Bytes from the client: what is in them is carried out, up to a command that must wait. */
  receive(chunk: Uint8Array): void {
    if (this.#ended) return;
    this.#context.driver.clientRead();
    try {
      this.#queue.receive(chunk);
      this.#advance();
    } catch (error) {
      this.end(undefined, error);
    }
    if (this.#ended) return;
    const excess = this.#queue.excess((this.#tagged?.size ?? 0) + this.#outbox.heldBack);
    if (excess !== undefined) this.end(excess);
  }

  /** Carries commands out, one after the other, until none is left or one must wait. */
  #advance(): void {
    while (!this.#ended && !this.#busy) {
      const next = this.#queue.next();
      if (next === undefined) break;
      if (this.#hasChannel) this.#outbox.gathers = this.#queue.hasMore;
      const waits = this.#carryOut(next);
      if (waits !== undefined) void this.#waitFor(waits);
    }
    if (this.#ended) return;
    this.#replies?.release();
    if (this.#busy) this.#queue.hold((command) => this.#overtakes(command));
  }

  async #waitFor(waits: Promise<void>): Promise<void> {
    this.#busy = true;
    try {
      await waits;
      this.#busy = false;
      this.#advance();
    } catch (error) {
      this.end(undefined, error);
    }
  }

  /**
   * Ends the client; what follows the first time is nothing.
   * @param why a reason worth a warning; undefined for a disconnect.
   */
  end(why?: string, error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    const { driver, log } = this.#context;
    if (why !== undefined) log.event(0, "client ended", { client: this.number, reason: why });
    else if (error !== undefined) this.#lost(error);
    else log.event(3, "client disconnected", { client: this.number });
    this.#replies?.close();
    this.#connection?.terminate();
    this.#channel?.terminate();
    if (this.#waiting !== undefined) driver.cancel(this.#waiting);
    for (const pending of this.#tagged?.values() ?? []) driver.cancel(pending);
    for (const session of this.#sessions?.values() ?? []) driver.closeSession(session);
    this.#commands?.clear();
    this.#tagged = undefined;
    this.#sessions = undefined;
    this.#waitingDone?.();
    this.#context.ended(this);
  }

  /** A peer that is gone is news for few; all else that is thrown here is a mistake of ours. */
  #lost(error: unknown): void {
    const { log } = this.#context;
    const fields = { client: this.number, cause: String(error) };
    const stack = error instanceof Error ? (error.stack ?? "") : "";
    if (error instanceof Error && "code" in error) log.event(2, "client lost", fields);
    else log.error("client ended by an internal error", { ...fields, stack });
  }

  /**
   * What is said of an open session, and `cancel`, does not wait for a command that takes its time.
   * A client may send `get` and the `close` of the session it will be: that one keeps its place.
   */
  #overtakes(command: Arrival): boolean {
    if ("sessionId" in command) return this.#ofSession(command);
    if (command.kind !== "cancel") return false;
    this.#cancel(command.tag);
    return true;
  }

  /** @returns whether the session is open; what is said of another is ignored. */
  #ofSession(command: Extract<Arrival, { sessionId: number }>): boolean {
    const session = this.#sessions?.get(command.sessionId);
    if (session === undefined) return false;
    const { driver } = this.#context;
    switch (command.kind) {
      case "keep":
        driver.decide((pool, now) => pool.sessionKept(session, now));
        return true;
      case "long":
        driver.decide((pool, now) => pool.sessionLong(session, now));
        return true;
      case "slow":
        driver.showStack(session);
        return true;
      case "served":
        driver.decide((pool, now) => pool.sessionServed(session, command.requests, now));
        return true;
      case "close":
        this.#sessions?.delete(command.sessionId);
        driver.closeSession(session);
        return true;
      case "abandon":
      case "overdue":
        this.#sessions?.delete(command.sessionId);
        driver.abandonSession(session, command.what, command.kind === "overdue");
        return true;
    }
  }

  #cancel(tag: ByteString): void {
    const pending = this.#tagged?.get(tag);
    if (pending === undefined) return this.#queue.withdraw(tag);
    this.#tagged?.delete(tag);
    this.#context.driver.cancel(pending);
  }

  /** @returns a promise when what follows must wait. */
  #carryOut(command: Arrival): Promise<void> | undefined {
    if (this.#context.log.writes(4)) {
      this.#context.log.event(4, "command", { client: this.number, command: command.kind });
    }
    if ("sessionId" in command) {
      this.#ofSession(command);
      return undefined;
    }
    switch (command.kind) {
      case "get":
        return this.#get(command.app);
      case "getTagged":
      case "getKept":
      case "getSticky":
        this.#getTagged(command);
        return undefined;
      case "cancel":
        this.#cancel(command.tag);
        return undefined;
      case "openDescriptorChannel":
        return this.#openChannel();
      case "invalid":
        this.end(command.error.message);
        return undefined;
      default: {
        const reply = carryOutOrder(command, this.#context);
        if (reply !== undefined) this.#outbox.reply(reply);
        return undefined;
      }
    }
  }

  #get(app: AppRequest): Promise<void> | undefined {
    // The descriptor of the last session is still ours: who does not read gets no more of them.
    if (!this.#outbox.empty) {
      return this.#outbox.drained().then(() => (this.#ended ? undefined : this.#get(app)));
    }
    const get = this.#ask(app);
    if (get.answered || this.#ended) return undefined;
    this.#waiting = get;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waitingDone = resolve;
    return promise;
  }

  #getTagged(command: TaggedGet): void {
    const { kind, tag } = command;
    const refuse = (why: string) => this.end(`command ${kind}: ${why}`);
    // Instances of a 2.0 spawn server would wait for the end of a request that never comes.
    if (kind !== "getTagged" && !this.#context.driver.keepsSessions) {
      return refuse("only instances of the built-in spawner keep sessions");
    }
    if (!this.#hasChannel) return refuse("it needs openDescriptorChannel first");
    this.#tagged ??= new Map();
    if (this.#tagged.has(tag)) return refuse(`tag '${escapeForLog(tag)}' is in use`);
    const get = this.#ask(command.app, command);
    if (!get.answered) this.#tagged?.set(tag, get);
  }

  /** To a worker the root of its get is a name, for the words that were registered. */
  #ask(app: AppRequest, command?: TaggedGet): ClientGet {
    const { driver, rights } = this.#context;
    const request = rights === "worker" ? driver.applications.of(app.root)?.request : app;
    const get = new ClientGet(this, request ?? app, command);
    if (request === undefined) {
      get.answered = true;
      this.refused(get, notRegistered);
    } else driver.get(get);
    return get;
  }

  /** A session for a get of this client; `stream` is the client's from here on. */
  granted(get: ClientGet, { pid, speaksHttp }: Grantor, session: SessionId, stream: OwnedFd): void {
    this.#forget(get);
    const isUnfit = speaksHttp && get.tag === undefined;
    if (this.#ended || isUnfit) {
      // Withdrawing one of its gets made room for another of them.
      stream.close();
      this.#context.driver.closeSession(session);
      return this.#ended ? undefined : this.refused(get, onlyHttp);
    }
    const sessionId = this.#nextSessionId;
    this.#nextSessionId += 1;
    this.#sessions ??= new Map();
    this.#sessions.set(sessionId, session);
    get.sessionId = sessionId;
    this.#outbox.session(pid, sessionId, get.tag, stream, { speaksHttp, key: get.key });
    if (get.tag === undefined) this.#waitingDone?.();
  }

  refused(get: ClientGet, refusal: GetRefusal): void {
    this.#forget(get);
    this.#outbox.refusal(encodeRefused(get, refusal));
    if (get.tag === undefined) this.#waitingDone?.();
  }

  /** A kept session of this client is wanted by somebody else: it closes or keeps it. */
  recalled(get: ClientGet): void {
    if (!this.#ended) this.#outbox.recall(get.sessionId);
  }

  #forget(get: ClientGet): void {
    if (get.tag === undefined) this.#waiting = undefined;
    else this.#tagged?.delete(get.tag);
  }

  async #openChannel(): Promise<void> {
    if (this.#hasChannel) {
      return this.end("command openDescriptorChannel: the channel is open already");
    }
    this.#hasChannel = true;
    let opened: DescriptorChannel;
    try {
      opened = await openDescriptorChannel(this);
    } catch (error) {
      this.end(`command openDescriptorChannel: ${causeText(error)}`);
      return;
    }
    const { socket, fd, theirs } = opened;
    this.#channel = socket;
    if (this.#ended) {
      socket.terminate();
      theirs.close();
      return;
    }
    this.#outbox.reply(encodePlainOk(), theirs);
    this.#outbox.useChannel(fd);
  }
}
