/**
 * PoolLink: a worker's way to the pool server, by one connection. Rules:
 * - It connects with the first request or question. How instances are started is nothing a worker
 *   has a say in: the supervisor has registered each application, and a worker names it.
 * - When the connection ends (the server has died and is started anew on the same wake socket), the
 *   next request connects again. Requests that had no instance yet go to the new server; bytes on
 *   the wake socket that the old one did not read are read by the new one.
 * - All who need a connection share the tries to make one, and each waits until its own deadline:
 *   what a request waits here is part of what it may wait for an instance.
 */
import {
  Application,
  BusyError,
  type PoolAccess,
  type PoolConnection,
  ServerGoneError,
} from "../parent/index.ts";
import type { SendOptions } from "../parent/pooled-request.ts";
import type { PreparedRequest } from "../parent/request.ts";
import type { SessionResponse } from "../parent/response.ts";
import { causeText } from "../wire/cause.ts";
import type { AppConfig } from "./config.ts";

/** One try; a wake byte that a dying server has read is never answered. */
const connectLimitMs = 500;
/** Between two tries that fail at once: the server is gone, the next one not there yet. */
const pauseMs = 20;
/** How long requests wait for a connection when they may wait for an instance without limit. */
const defaultWaitMs = 10_000;

export class PoolLink {
  readonly #access: PoolAccess;
  /** By the application's name. */
  readonly #apps: ReadonlyMap<string, Application>;
  #connection: PoolConnection | undefined;
  /** The tries under way, for as long as anybody waits for them. */
  #connecting: Promise<PoolConnection> | undefined;
  #waiting = 0;
  /** Why the last try failed. */
  #cause: unknown;
  #isClosed = false;

  /** @param access the wake socket; it stays the caller's. */
  constructor(access: PoolAccess, apps: readonly AppConfig[]) {
    this.#access = access;
    this.#apps = new Map(apps.map(({ name, root }) => [name, new Application(root)]));
  }

  /**
   * The connection, for questions about the pool. @throws BusyError when there is none in time,
   * ServerGoneError once this link is closed (as rejections).
   */
  async connection(waitMs = defaultWaitMs): Promise<PoolConnection> {
    if (this.#open !== undefined) return this.#open;
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      const cause = this.#cause;
      const why = cause === undefined ? `no answer within ${waitMs} ms` : causeText(cause);
      late.reject(new BusyError(`connect to the pool server: ${why}`, { cause }));
    }, waitMs);
    this.#waiting += 1;
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    try {
      return await Promise.race([this.#connecting, late.promise]);
    } finally {
      this.#waiting -= 1;
      clearTimeout(timer);
    }
  }

  /**
   * Sends a request to an instance of the application.
   * @throws the errors of PoolConnection.request; BusyError when there is no pool server in time.
   */
  async send(
    app: AppConfig,
    prepared: PreparedRequest,
    options: SendOptions,
  ): Promise<SessionResponse> {
    const application = this.#apps.get(app.name);
    if (application === undefined) throw new Error(`application ${app.name}: it is not configured`);
    const { queueMs = 0 } = options;
    const deadline = performance.now() + (queueMs || defaultWaitMs);
    const leftMs = (): number => Math.max(1, deadline - performance.now());
    for (let bounds = options; ;) {
      let connection = this.#open;
      if (connection === undefined) {
        connection = await this.connection(leftMs());
        if (queueMs > 0) bounds = { ...options, queueMs: leftMs() };
      }
      try {
        return await connection.send(application, prepared, bounds);
      } catch (error) {
        // It waited for a session when the server went: no instance has seen it.
        if (!(error instanceof ServerGoneError) || performance.now() >= deadline) throw error;
      }
    }
  }

  /** Ends the connection: what waits is rejected, what is under way goes on. */
  close(): void {
    this.#isClosed = true;
    this.#connection?.close();
  }

  get #open(): PoolConnection | undefined {
    return this.#connection?.isOpen === true ? this.#connection : undefined;
  }

  /** Tries until there is a connection, or nobody waits for one any more. */
  async #connect(): Promise<PoolConnection> {
    this.#cause = undefined;
    for (;;) {
      if (this.#isClosed) throw new ServerGoneError("connect to the pool server: closed here");
      try {
        const connection = await this.#access.connect({ limitMs: connectLimitMs });
        if (this.#isClosed) {
          connection.close();
          continue;
        }
        // What the first request would have to ask, and wait for without a limit of its own.
        await connection.prepare(connectLimitMs);
        this.#connection = connection;
        return connection;
      } catch (error) {
        this.#cause = error;
        if (this.#waiting === 0) throw error;
      }
      await Bun.sleep(pauseMs);
    }
  }
}
