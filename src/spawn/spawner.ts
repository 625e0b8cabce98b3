/**
 * What the server asks of whoever makes instances: a 2.0 spawn server, or the built-in spawner. The
 * driver performs the pool's effects through this interface and knows nothing else of how an
 * instance comes to be.
 */
import type { LogLevel } from "../logging/log.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import type { AppRequest } from "../wire/app-request.ts";
import type { ByteString } from "../wire/bytes.ts";
import type { InstanceOptions } from "../wire/configure.ts";
import type { FilesAside } from "./files-aside.ts";

/**
 * Everything a new instance is made from: the six elements of `get`, and what `configure` said,
 * which only the built-in spawner heeds.
 */
export interface SpawnRequest extends AppRequest, InstanceOptions {
  /** Time limit of this spawn in milliseconds. */
  readonly timeoutMs: number;
  /**
   * Aborted, with why in words, when nobody has a use for it any more, which a 2.0 spawn server
   * cannot be told.
   */
  readonly useless?: AbortSignal;
}

/** What an instance says of the sessions that were connected to it: once for each. */
export interface SessionReports {
  /** Set by whoever is to be told that so many are over for it. */
  onDone: ((sessions: number) => void) | undefined;
  /** Tells at once what it has said by now: before it closes a session's stream it has. */
  hear(): void;
}

/** One running instance, from `spawn` until `release`. */
export interface Instance {
  readonly pid: number;
  /** Whom it runs as; undefined: it is not known. */
  readonly user?: string | undefined;
  /** Sessions it serves at once, at least 1. */
  readonly concurrency: number;
  /** Whether its sessions are plain HTTP/1.1 (PROTOCOL section 10, programs). */
  readonly speaksHttp: boolean;
  /** How it says that it is done with a session; undefined: it does not. */
  readonly reports: SessionReports | undefined;
  /** Resolves once the process is seen to be dead; never rejects. */
  readonly death: Promise<void>;
  /** Whether, once it has died, that was since its application had used up its memory. */
  readonly isOutOfMemory?: boolean;
  /** How it died, for a sentence: once `death` has resolved, in a moment. */
  describeEnd(): Promise<string>;
  /**
   * Connects a new session without waiting: a blocking-mode stream, or `full` when its backlog has
   * no room.
   * @throws SyscallError: ECONNREFUSED and the rest.
   */
  connect(): OwnedFd | "full";
  /**
   * A request of it takes too long: has it say where it is, then ends its process by force. One
   * with threads has a time in which the others may finish, until `release` says that they have.
   */
  giveUp(): void;
  /** Has it write the stacks of what is running to its output, if it can. */
  showStack(): void;
  /**
   * Lets it go: closes its owner pipe or lifeline. It leaves by itself (or is made to). Safe to
   * call twice. @param leaveMs how long it may take to leave; absent: as is usual.
   */
  release(leaveMs?: number): void;
}

/**
 * A spawn failed. `message` is for people; `page`, if there is one, is the HTML error page to hand
 * on.
 */
export class SpawnFailedError extends Error {
  override readonly name = "SpawnFailedError";
  readonly page: Uint8Array | undefined;

  constructor(message: string, page?: Uint8Array, options?: ErrorOptions) {
    super(message, options);
    this.page = page;
  }
}

/** How a spawner says what happened; the server writes it to the log. */
export type Notify = (
  level: LogLevel,
  event: string,
  fields?: Readonly<Record<string, string | number>>,
) => void;

/** How an application is served. */
export interface UsualInstances {
  /** Sessions at once of each instance. */
  readonly concurrency: number;
  /** So many share all sessions: what the program keeps in memory is there; 0: any number. */
  readonly instances: number;
}

export type Rehearse = (app: AppRequest, options: InstanceOptions) => Promise<unknown>;

export interface Spawner {
  /** What `getSpawnServerPid` answers: 0 while there is none. */
  readonly pid: number;
  /** How many spawns may be under way at once. */
  readonly spawnsAtOnce: number;
  /** Whether repeated failures of an application earn it a pause (PROTOCOL section 10). */
  readonly pausesAfterFailures: boolean;
  /** Who looks at files for it, which the server may share: each helper is a process to start. */
  readonly aside?: FilesAside;
  /** How an application of this kind is probably served, configured so. */
  usualInstances(app: AppRequest, options?: InstanceOptions): UsualInstances;
  /** How many instances the pool may have: a bound for whatever is kept to make them of. */
  setMax(max: number): void;
  /**
   * Starts what must be warm before the first spawn. Never throws; a failure shows at the first
   * spawn. @param rehearse asks for an application that the spawner has for that alone.
   */
  start(rehearse?: Rehearse): void;
  /** An application is registered: what its first spawn needs may be made ready. Never throws. */
  expect(app: AppRequest, options: InstanceOptions): void;
  /** @throws SpawnFailedError (a rejection), within the request's time limit and a little more. */
  spawn(request: SpawnRequest): Promise<Instance>;
  /** Drops cached code of an application. */
  reload(root: ByteString): void;
  /** There is no such application any more. */
  forget(root: ByteString): void;
  /**
   * Ends everything it started, in bounded time. `hurry` aborts the polite waits. Instances are
   * released by the caller before.
   */
  close(hurry: AbortSignal): Promise<void>;
}
