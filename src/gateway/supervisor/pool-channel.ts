/**
 * PoolChannel: the supervisor's end of its channel to one pool server (PROTOCOL section 12), over
 * which it alone registers applications, sets limits, looks and pings. It is a client like any
 * other, but for sessions, which the supervisor has no use for. When the channel ends, whatever
 * waits for an answer is rejected.
 */
import type { Socket } from "bun";

import { putOnEventLoop } from "../../native/event-loop.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { AwaitedAnswers, type ReadAnswer } from "../../parent/awaited-answers.ts";
import { BusyError, ConfigureError } from "../../parent/errors.ts";
import { type Inspection, parseInspection } from "../../wire/inspection.ts";
import { SendBuffer } from "../../parent/send-buffer.ts";
import * as refusals from "../../parent/refusals.ts";
import { ReplyStream } from "../../parent/reply-stream.ts";
import { fromText, toText } from "../../wire/bytes.ts";
import { type Command, encodeCommand } from "../../wire/commands.ts";
import { encodeRegistration, type Registration, registrationJson } from "../../wire/register.ts";
import type { AppType } from "../../wire/app-request.ts";
import type { AppConfig, PoolConfig } from "../config.ts";

/**
 * Registrations that wait for their answers at a time: below what may wait (awaited-answers.ts),
 * with room for pings and questions. What is unsent of them stays below the outbox's bound with
 * `batchBytes`.
 */
const batchSize = 100;
const batchBytes = 256 * 1024;

/** What is answered with JSON. */
const jsonKinds: ReadonlySet<Command["kind"]> = new Set(["inspect", "recentOutput"]);

/** The last lines of an application. */
export interface RecentOutput {
  /** Each with its line end. */
  readonly lines: readonly string[];
  /** The number of the last: to ask with next. */
  readonly last: number;
  /** Lines between those asked for and these are not there any more. */
  readonly isGap: boolean;
}

export class PoolChannel {
  readonly #replies = new ReplyStream();
  readonly #answers = new AwaitedAnswers();
  readonly #unsent = new SendBuffer(() => this.close());
  readonly #heard: () => void;
  #socket: Socket<PoolChannel> | undefined;
  #ended: refusals.EndReason | undefined;

  private constructor(heard: () => void) {
    this.#heard = heard;
  }

  /** Takes the descriptor over. @param heard is called when the server has said anything. */
  static async open(fd: OwnedFd, heard: () => void): Promise<PoolChannel> {
    const channel = new PoolChannel(heard);
    channel.#socket = await putOnEventLoop(fd, {
      data: channel,
      socket: {
        data: (socket, chunk) => socket.data.#receive(chunk),
        drain: (socket) => socket.data.#unsent.drained(socket),
        close: (socket) => socket.data.#fail(refusals.closedByServer),
        error: () => {}, // close follows
      },
    });
    return channel;
  }

  /**
   * Registers applications (by root, as registrationOf says), in batches. @throws ConfigureError
   * when the server does not take one; the errors of a connection that has ended.
   */
  async register(apps: ReadonlyMap<string, string>): Promise<void> {
    let batch: Promise<void>[] = [];
    let bytes = 0;
    for (const [root, json] of apps) {
      if (batch.length >= batchSize || bytes + json.length > batchBytes) {
        await Promise.all(batch);
        batch = [];
        bytes = 0;
      }
      batch.push(this.#ask({ kind: "register", root: fromText(root) }, encodeRegistration(json)));
      bytes += json.length;
    }
    await Promise.all(batch);
  }

  /**
   * Has an application's processes go; `unregister`: and no more made. Each may be many, so the
   * caller waits for one before the next.
   */
  letGo(kind: "retire" | "unregister", root: string): Promise<void> {
    return this.#ask({ kind, root: fromText(root) });
  }

  /** Has an application restart. */
  restart(root: string): Promise<void> {
    return this.#ask({ kind: "restart", root: fromText(root) });
  }

  /** Has an instance leave the pool. @throws ConfigureError when there is none of that process. */
  detach(pid: number): Promise<void> {
    return this.#ask({ kind: "detach", pid });
  }

  /** Sets the limits that can be set while it runs. */
  async setLimits({ max, maxPerApp, maxIdleSeconds, globalQueue }: PoolConfig): Promise<void> {
    this.#tell({ kind: "setMax", max });
    this.#tell({ kind: "setMaxPerApp", maxPerApp });
    this.#tell({ kind: "setMaxIdleTime", seconds: maxIdleSeconds });
    this.#tell({ kind: "setUseGlobalQueue", useGlobalQueue: globalQueue });
    await this.ping(); // answered in order: by then the others have been carried out
  }

  /** Has the server take clients. */
  admit(): Promise<void> {
    return this.#ask({ kind: "admit" });
  }

  ping(): Promise<void> {
    return this.#ask({ kind: "ping" });
  }

  /** Has the server open the logs of applications anew. */
  reopenLogs(): Promise<void> {
    return this.#ask({ kind: "reopenLogs" });
  }

  /** The pool at this moment. */
  inspect(): Promise<Inspection> {
    return this.#askForJson({ kind: "inspect" }, parseInspection);
  }

  /** What an application has written last, after a line by its number. */
  recentOutput(root: string, after: number): Promise<RecentOutput> {
    const parse = (json: Uint8Array) => JSON.parse(Buffer.from(json).toString()) as RecentOutput;
    return this.#askForJson({ kind: "recentOutput", root: fromText(root), after }, parse);
  }

  close(): void {
    this.#fail(refusals.closedHere);
  }

  #tell(command: Command): void {
    if (this.#ended !== undefined) throw this.#ended(command.kind);
    this.#send(encodeCommand(command));
  }

  /** A command that is answered `ok`. */
  #ask(command: Command, scalar?: Uint8Array): Promise<void> {
    const head = encodeCommand(command);
    const frame = scalar === undefined ? head : Buffer.concat([head, scalar]);
    return this.#await<void>(command, frame, (reply) => {
      if (reply.kind === "error") return new ConfigureError(toText(reply.message));
      return reply.kind === "ok" ? { value: undefined } : undefined;
    });
  }

  #askForJson<T>(command: Command, parse: (json: Uint8Array) => T): Promise<T> {
    return this.#await(command, encodeCommand(command), (reply) =>
      reply.kind === "snapshot" ? { value: parse(reply.json) } : undefined,
    );
  }

  #await<T>({ kind }: Command, frame: Uint8Array, read: ReadAnswer<T>): Promise<T> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended(kind));
    if (!this.#answers.hasRoom) {
      return Promise.reject(new BusyError(`${kind}: too many questions wait already`));
    }
    const answer = this.#answers.next(kind, jsonKinds.has(kind), read);
    this.#send(frame);
    return answer;
  }

  #send(frame: Uint8Array): void {
    if (this.#socket !== undefined) this.#unsent.push(frame, this.#socket);
  }

  #receive(chunk: Buffer): void {
    this.#heard();
    try {
      this.#replies.push(chunk);
      while (this.#ended === undefined) {
        const reply = this.#replies.next(this.#answers.awaitsSnapshot);
        if (reply === undefined) return;
        this.#answers.settle(reply);
      }
    } catch (cause) {
      // What is no answer ends the channel, and with it the server (pool-keeper.ts).
      this.#fail(refusals.broken(cause instanceof Error ? cause : new Error(String(cause))));
    }
  }

  #fail(why: refusals.EndReason): void {
    if (this.#ended !== undefined) return;
    this.#ended = why;
    this.#socket?.end();
    this.#answers.rejectAll(why);
  }
}

const mayBeRails: ReadonlySet<AppConfig["type"]> = new Set(["auto", "rack", "rails"]);

/**
 * What is registered of each application that has processes, by root: two of one root agree
 * (app-settings.ts).
 */
export function registrationsOf(apps: readonly AppConfig[]): Map<string, string> {
  const prefixes = new Map(apps.map(({ root, prefix }) => [root, prefix]));
  // At several places it has none that its processes could name.
  for (const { root, prefix } of apps) if (prefixes.get(root) !== prefix) prefixes.set(root, "/");
  return new Map(
    apps.flatMap((app) => {
      const { root, type } = app;
      if (type === "static") return [];
      const registration = registrationOf(app, type, prefixes.get(root) ?? "/");
      return [[root, registrationJson(registration)]];
    }),
  );
}

function registrationOf(app: AppConfig, appType: AppType, prefix: string): Registration {
  const { options } = app;
  // Rails does not take the paths of its assets from SCRIPT_NAME.
  const rails = prefix === "/" ? {} : { RAILS_RELATIVE_URL_ROOT: prefix };
  return {
    lowerPrivilege: true,
    lowestUser: "nobody",
    environment: app.environment,
    spawnMethod: app.spawnMethod,
    appType,
    options: {
      ...options,
      readyHost: app.hosts.find((host) => !host.startsWith("*")),
      env: { ...(mayBeRails.has(app.type) ? rails : {}), ...options.env },
    },
    log: app.log,
  };
}
