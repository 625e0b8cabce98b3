/**
 * The server: wake loop, clients, driver and status FIFO put together, and ended in order.
 *
 * It ends when the wake socket does, or when `stop` is called (a signal): it takes no new client,
 * carries out what its clients have sent, closes them, lets go of every instance, ends the spawner
 * in bounded time, and removes the FIFO.
 *
 * With a supervisor (PROTOCOL section 12), clients wait until that has registered the applications,
 * and may ask for these only.
 */
import { nextTurn, putOnEventLoop } from "../native/event-loop.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import type { Pool } from "../pool/pool.ts";
import type { Spawner } from "../spawn/spawner.ts";
import { StatusFifo } from "../status/fifo.ts";
import { statusReport } from "../status/report.ts";
import { toText, type ByteString } from "../wire/bytes.ts";
import { causeText } from "../wire/cause.ts";
import { Client, type ClientContext } from "./client.ts";
import { drain } from "./drain.ts";
import { Driver } from "./driver.ts";
import type { Log } from "../logging/log.ts";
import type { OutputLogs } from "../logging/output-logs.ts";
import { rehearse } from "./rehearsal.ts";
import type { WakeLoop } from "./wake.ts";

interface ServerOptions {
  /** Of the pair the parent holds (descriptor 3); the server's to end from here on. */
  readonly wake: WakeLoop;
  /** The server's end of the supervisor's channel, its own likewise; undefined: there is none. */
  readonly supervisor?: OwnedFd | undefined;
  readonly spawner: Spawner;
  readonly pool: Pool;
  readonly log: Log;
  /** Where what instances write goes; undefined where nobody registers. */
  readonly outputs?: OutputLogs | undefined;
  readonly spawnTimeoutMs: number;
  /** An existing FIFO; undefined: no report. */
  readonly statusFifo: ByteString | undefined;
}

/** Clients at once under a supervisor: 256 workers before and after a reload, with one or two. */
const maxWorkerClients = 1024;

export class Server {
  readonly #options: ServerOptions;
  readonly #driver: Driver;
  readonly #wake: WakeLoop;
  readonly #fifo: StatusFifo | undefined;
  readonly #clients = new Set<Client>();
  readonly #context: ClientContext;
  readonly #admitted = Promise.withResolvers<void>();
  readonly #hurry = new AbortController();
  readonly #ended = Promise.withResolvers<void>();
  /** Resolves when the server has ended and nothing of it is left. */
  readonly ended = this.#ended.promise;
  #clientCount = 0;
  #stopping = false;

  constructor(options: ServerOptions) {
    this.#options = options;
    const { log, spawner, pool, spawnTimeoutMs } = options;
    this.#driver = new Driver({ spawner, pool, log, spawnTimeoutMs });
    this.#context = {
      driver: this.#driver,
      log,
      outputs: options.outputs,
      rights: options.supervisor === undefined ? "parent" : "worker",
      admit: () => this.#admitted.resolve(),
      ended: (client) => this.#clients.delete(client),
    };
    this.#wake = options.wake;
    this.#fifo = this.#findFifo(options.statusFifo);
  }

  /** Without a usable FIFO there is no report, and all else goes on. */
  #findFifo(path: ByteString | undefined): StatusFifo | undefined {
    if (path === undefined) return undefined;
    const { log } = this.#options;
    const complain = (error: unknown): void => {
      log.event(0, "no status report", { path: toText(path), cause: causeText(error) });
    };
    try {
      const report = () => statusReport(this.#driver.ask((pool, now) => pool.snapshot(now)));
      return new StatusFifo({ path, report, onError: complain });
    } catch (error) {
      complain(error);
      return undefined;
    }
  }

  /**
   * Serves clients first (a byte may be waiting: starting a process would hold it up), then warms
   * the spawner and offers the report.
   */
  async start(): Promise<void> {
    const { supervisor } = this.#options;
    if (supervisor !== undefined) {
      void this.#adopt(supervisor, this.#supervisorContext());
      await this.#admitted.promise;
      if (this.#stopping) return;
    }
    this.#wake.serve({
      log: this.#options.log,
      onConnection: (fd) => this.#welcome(fd),
      onEnd: () => this.stop("the parent is gone"),
    });
    await this.#wake.start();
    await nextTurn();
    if (this.#stopping) return;
    const { spawner, pool } = this.#options;
    spawner.start((app, options) => rehearse(spawner, pool.limits, app, options));
    this.#fifo?.start();
  }

  /** Ends the server; once is enough, more often changes nothing. */
  stop(why: string): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#admitted.resolve();
    this.#options.log.event(1, "server ends", { reason: why });
    void this.#shutDown();
  }

  /** Its end before it has admitted clients leaves nobody who could. */
  #supervisorContext(): ClientContext {
    const ended = (client: Client): void => {
      this.#clients.delete(client);
      if (!this.#wake.hasStarted) this.stop("the supervisor is gone");
    };
    return { ...this.#context, rights: "supervisor", ended };
  }

  /** Skips the polite waits of an ending. */
  hurry(): void {
    this.#hurry.abort();
  }

  async #shutDown(): Promise<void> {
    try {
      this.#wake.close();
      await drain(this.#clients, this.#hurry.signal);
      // Before its clients: what they give back must not be given to anybody.
      this.#driver.close();
      for (const client of this.#clients) client.end();
      await Promise.all([this.#options.spawner.close(this.#hurry.signal), this.#fifo?.stop()]);
    } catch (error) {
      this.#options.log.error("ending the server", { cause: String(error) });
    }
    this.#options.log.event(1, "server ended");
    this.#ended.resolve();
  }

  /** A worker that was taken over could ask for clients until no descriptor is left. */
  #welcome(fd: OwnedFd): void {
    const { rights, log } = this.#context;
    if (rights !== "worker" || this.#clients.size < maxWorkerClients) return void this.#adopt(fd);
    fd.close();
    log.event(2, "client refused", { clients: this.#clients.size });
  }

  async #adopt(fd: OwnedFd, context = this.#context): Promise<void> {
    this.#clientCount += 1;
    const client = new Client(this.#clientCount, fd.number, context);
    this.#clients.add(client);
    this.#options.log.event(3, "client connected", { client: client.number });
    try {
      client.attach(await putOnEventLoop(fd, { data: client, socket: clientHandlers }));
    } catch (error) {
      client.end(undefined, error);
    }
  }
}

const clientHandlers: Bun.SocketHandler<Client> = {
  data: (socket, chunk) => socket.data.receive(chunk),
  close: (socket) => socket.data.end(),
  error: (socket, error) => socket.data.end(undefined, error),
};
