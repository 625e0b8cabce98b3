/**
 * PoolLink: a worker's way to the pool server, by one connection. Rules:
 * - It connects with the first request or question, tells the server how each application's
 *   instances are to be started, and only then passes requests on.
 * - When the connection ends (the server has died and is started anew on the same wake socket), the
 *   next request connects again. Requests that had no instance yet go to the new server; bytes on
 *   the wake socket that the old one did not read are read by the new one.
 * - Nobody waits longer for a connection than for an instance.
 */
import {
  Application,
  BusyError,
  ConfigureError,
  type PoolAccess,
  type PoolConnection,
  PoolIOError,
  ServerGoneError,
} from "../parent/index.ts";
import type { SendOptions } from "../parent/connection.ts";
import type { PreparedRequest } from "../parent/request.ts";
import type { SessionResponse } from "../parent/response.ts";
import type { AppConfig } from "./config.ts";

/** One try; a wake byte that a dying server has read is never answered. */
const connectLimitMs = 500;
/** Between two tries that fail at once: the server is gone, the next one not there yet. */
const pauseMs = 20;
/** How long requests wait for a connection when they may wait for an instance without limit. */
const defaultWaitMs = 10_000;

export class PoolLink {
  readonly #access: PoolAccess;
  /** By name. */
  readonly #apps: ReadonlyMap<string, Target>;
  readonly #globalQueue: boolean;
  #connection: PoolConnection | undefined;
  #connecting: Promise<PoolConnection> | undefined;
  #isClosed = false;

  /** @param access the wake socket; it stays the caller's. @param globalQueue see PoolConfig. */
  constructor(access: PoolAccess, apps: readonly AppConfig[], globalQueue: boolean) {
    this.#access = access;
    this.#globalQueue = globalQueue;
    this.#apps = new Map(apps.map((app) => [app.name, targetFor(app)]));
  }

  /** The connection, for questions about the pool. @throws as `send`. */
  connection(waitMs = defaultWaitMs): Promise<PoolConnection> {
    if (this.#open !== undefined) return Promise.resolve(this.#open);
    this.#connecting ??= this.#connect(performance.now() + (waitMs || defaultWaitMs)).finally(
      () => {
        this.#connecting = undefined;
      },
    );
    return this.#connecting;
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
    const target = this.#apps.get(app.name);
    if (target === undefined) throw new Error(`application ${app.name}: it is not configured`);
    const queueMs = options.queueMs || defaultWaitMs;
    const deadline = performance.now() + queueMs;
    for (let leftMs = queueMs; ; leftMs = deadline - performance.now()) {
      const connection = this.#open ?? (await this.connection(leftMs));
      try {
        return await connection.send(target.application, prepared, options);
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

  async #connect(deadlineMs: number): Promise<PoolConnection> {
    for (;;) {
      if (this.#isClosed) throw new ServerGoneError("connect to the pool server: closed here");
      try {
        const connection = await this.#access.connect({ limitMs: connectLimitMs });
        await this.#configure(connection);
        this.#connection = connection;
        if (!this.#isClosed) return connection;
        connection.close();
        continue;
      } catch (error) {
        if (error instanceof ConfigureError) throw error;
        const isLate = performance.now() >= deadlineMs;
        if (isLate && error instanceof PoolIOError) {
          throw new BusyError(`connect to the pool server: ${error.message}`, { cause: error });
        }
        if (isLate) throw error;
      }
      await Bun.sleep(pauseMs);
    }
  }

  async #configure(connection: PoolConnection): Promise<void> {
    connection.setUseGlobalQueue(this.#globalQueue);
    try {
      // Side by side: they are answered in their order.
      await Promise.all(
        Array.from(this.#apps.values(), ({ app }) =>
          connection.configure(app.root, {
            env: app.env,
            spawnTimeoutMs: app.spawnTimeoutMs,
            ...(app.user === undefined ? {} : { user: app.user }),
            ...(app.concurrency === 0 ? {} : { concurrency: app.concurrency }),
            ...(app.maxInstances === 0 ? {} : { maxInstances: app.maxInstances }),
          }),
        ),
      );
    } catch (error) {
      connection.close();
      throw error;
    }
  }
}

interface Target {
  readonly app: AppConfig;
  readonly application: Application;
}

function targetFor(app: AppConfig): Target {
  const { root, environment, spawnMethod, type } = app;
  const options = { root, environment, spawnMethod, appType: type };
  return { app, application: new Application(options) };
}
