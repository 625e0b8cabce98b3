/**
 * Instances from a 2.0 spawn server (PROTOCOL section 4): keeps one running, asks it, and survives
 * whatever it does.
 *
 * - One conversation at a time. It fails: the spawn server is killed, started again and asked once
 *   more. No answer in time: killed and started again, but not asked again, since the application
 *   may be to blame. An error page, or a descriptor lost for want of room: it stays.
 * - It is started at once, and again as soon as its death is seen, so that the next spawn finds it
 *   warm; but not after a life of less than a second, and not twice without a spawn between.
 */
import { DescriptorError } from "../native/descriptors.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import type { ByteString } from "../wire/bytes.ts";
import { causeText } from "../wire/cause.ts";
import { encodeSpawnApplication } from "../wire/spawn-protocol.ts";
import { AbstractForms, openInstanceSocket, type InstanceSocket } from "./instance-socket.ts";
import { OwnerPipes } from "./owner-pipes.ts";
import { SpawnServerProcess, type SpawnServerOptions } from "./spawn-server-process.ts";
import { TimeLimitError, type SpawnReply } from "./spawn-channel.ts";
import {
  SpawnFailedError,
  type Instance,
  type SpawnRequest,
  type Spawner,
  type UsualInstances,
} from "./spawner.ts";

/** A spawn server that dies sooner after its start would only die again. */
const shortLifeMs = 1_000;

export class SpawnServer implements Spawner {
  readonly spawnsAtOnce = 1;
  readonly pausesAfterFailures = false;
  readonly #options: SpawnServerOptions;
  readonly #ownerPipes = new OwnerPipes();
  readonly #abstractForms = new AbstractForms();
  #current: SpawnServerProcess | undefined;
  /** Killed or dying ones whose end has not been seen yet. */
  readonly #leaving = new Set<SpawnServerProcess>();
  /** Whether a death may be answered by a start before anyone asks. */
  #mayRestart = true;
  #closing = false;
  #lastTurn: Promise<void> = Promise.resolve();

  constructor(options: SpawnServerOptions) {
    this.#options = options;
  }

  get pid(): number {
    const current = this.#current;
    return current === undefined || current.hasEnded ? 0 : current.pid;
  }

  usualInstances(): UsualInstances {
    return { concurrency: 1, instances: 0 };
  }

  setMax(): void {
    // A 2.0 spawn server bounds itself.
  }

  expect(): void {
    // It has loaded what any application needs.
  }

  start(): void {
    try {
      this.#running();
    } catch (error) {
      this.#options.notify(0, "spawn server not started", { why: causeText(error) });
    }
  }

  async spawn(request: SpawnRequest): Promise<Instance> {
    const turn = Promise.withResolvers<void>();
    const previous = this.#lastTurn;
    this.#lastTurn = turn.promise;
    await previous;
    try {
      return await this.#spawn(request, performance.now() + request.timeoutMs);
    } finally {
      turn.resolve();
    }
  }

  reload(root: ByteString): void {
    // One that is started later has nothing cached.
    this.#current?.channel.reload(root);
  }

  /** Its conversation goes on: what it starts is not ours. */
  forget(): void {}

  async close(hurry: AbortSignal): Promise<void> {
    this.#closing = true;
    const current = this.#current;
    this.#current = undefined;
    if (current !== undefined) this.#leaving.add(current);
    await Promise.all(Array.from(this.#leaving, (process) => process.close(hurry)));
  }

  async #spawn(request: SpawnRequest, deadline: number): Promise<Instance> {
    const question = questionFor(request);
    let failure: { readonly why: string; readonly cause: unknown } | undefined;
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const server = this.#running();
      try {
        return this.#adopt(await server.channel.ask(question, deadline), server.user);
      } catch (error) {
        if (error instanceof SpawnFailedError) throw error;
        if (error instanceof DescriptorError && error.lost) {
          throw new SpawnFailedError(causeText(error), undefined, { cause: error });
        }
        const why = await server.explain(causeText(error));
        this.#end(server, why);
        if (error instanceof TimeLimitError) {
          if (!this.#closing) this.start();
          const message = `the spawn server did not answer within ${request.timeoutMs} ms`;
          throw new SpawnFailedError(message, undefined, { cause: error });
        }
        failure = { why, cause: error };
      }
    }
    const message = `the spawn server failed twice; at last: ${failure?.why}`;
    throw new SpawnFailedError(message, undefined, { cause: failure?.cause });
  }

  #running(): SpawnServerProcess {
    if (this.#closing) throw new SpawnFailedError("the server is shutting down");
    if (this.#current !== undefined) return this.#current;
    try {
      const started: SpawnServerProcess = new SpawnServerProcess(this.#options, (why) =>
        this.#end(started, why),
      );
      this.#current = started;
      this.#options.notify(1, "spawn server started", { pid: started.pid });
      return started;
    } catch (error) {
      const message = `the spawn server could not be started: ${causeText(error)}`;
      throw new SpawnFailedError(message, undefined, { cause: error });
    }
  }

  /** The spawn server is of no more use; told once by each who sees it. */
  #end(server: SpawnServerProcess, why: string): void {
    // At shutdown it is ended politely, by close().
    if (this.#closing) return;
    server.kill(why);
    if (server.hasEnded) this.#leaving.delete(server);
    else this.#leaving.add(server);
    if (this.#current !== server) return;
    this.#current = undefined;
    this.#options.notify(0, "spawn server ended", { pid: server.pid, why });
    const livedMs = performance.now() - server.startedAt;
    if (!this.#mayRestart || livedMs < shortLifeMs) return;
    this.#mayRestart = false;
    this.start();
  }

  #adopt(reply: SpawnReply, spawnServerUser: number): Instance {
    this.#mayRestart = true;
    if (reply.kind === "page") {
      throw new SpawnFailedError("the spawn server answered with an error page", reply.page);
    }
    const { said, ownerPipe } = reply;
    try {
      const socket = openInstanceSocket(said, spawnServerUser, this.#abstractForms);
      return this.#instance(said.pid, socket, ownerPipe);
    } catch (error) {
      ownerPipe.close();
      const message = `its socket is not to be used: ${causeText(error)}`;
      throw new SpawnFailedError(message, undefined, { cause: error });
    }
  }

  #instance(pid: number, socket: InstanceSocket, ownerPipe: OwnedFd): Instance {
    const { promise: death, resolve } = Promise.withResolvers<void>();
    this.#ownerPipes.watch(ownerPipe, resolve);
    let isReleased = false;
    const release = () => {
      if (isReleased) return;
      isReleased = true;
      this.#ownerPipes.close(ownerPipe);
      try {
        socket.release();
      } catch (error) {
        const why = causeText(error);
        this.#options.notify(1, "instance socket not deleted", { pid, why });
      }
    };
    return {
      pid,
      concurrency: 1,
      speaksHttp: false,
      reports: undefined,
      death,
      describeEnd: () => Promise.resolve("closed its owner pipe"),
      connect: () => {
        if (isReleased) throw new Error(`instance ${pid}: connect after release`);
        return socket.connect();
      },
      giveUp: release, // Not ours to end. Only instances that report are ever given up.
      showStack: () => {}, // It could not be asked.
      release,
    };
  }
}

/** @throws SpawnFailedError: the largest `get` has no room for the longer name of this message. */
function questionFor(request: SpawnRequest): Uint8Array {
  try {
    return encodeSpawnApplication(request);
  } catch (error) {
    const message = `it cannot be asked for: ${causeText(error)}`;
    throw new SpawnFailedError(message, undefined, { cause: error });
  }
}
