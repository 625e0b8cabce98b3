/**
 * One worker, as the supervisor sees it: a process of the same binary that inherits the wake socket
 * (3), its end of the control channel (4) and the listening sockets (5 and up).
 */
import type { Subprocess } from "bun";

import { socketPair } from "../native/socket.ts";
import { serverProgram } from "../parent/pool-server.ts";
import type { GatewayConfig } from "./config.ts";
import { ControlChannel, type ToSupervisor, type ToWorker } from "./control-channel.ts";

/** The hidden command of the binary. */
export const workerCommand = "gateway-worker";

export const workerDescriptors = { wake: 3, control: 4, firstListener: 5 } as const;

/** A listening socket to be passed on. */
export interface SharedListener {
  readonly fd: number;
  readonly tls: boolean;
}

export interface WorkerStart {
  readonly config: GatewayConfig;
  /** Our descriptor of the parents' end of the wake socket. */
  readonly wakeFd: number;
  readonly listeners: readonly SharedListener[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

export class WorkerProcess {
  readonly #process: Subprocess;
  readonly #control: ControlChannel<ToSupervisor, ToWorker>;
  readonly startedMs = performance.now();
  /** Resolves when it accepts connections; with a text when it cannot, or has ended. */
  readonly ready: Promise<"ready" | { readonly why: string }>;
  /** Resolves when it wants to be replaced, or has ended. */
  readonly leaves: Promise<"asks" | "ended">;

  private constructor(
    process: Subprocess,
    control: ControlChannel<ToSupervisor, ToWorker>,
    promises: Pick<WorkerProcess, "ready" | "leaves">,
  ) {
    this.#process = process;
    this.#control = control;
    this.ready = promises.ready;
    this.leaves = promises.leaves;
  }

  /** @throws Error when the process cannot be started. */
  static async start(start: WorkerStart): Promise<WorkerProcess> {
    const [ours, theirs] = socketPair();
    let child: Subprocess;
    try {
      child = spawn(start, theirs.number);
    } catch (error) {
      ours.close();
      throw error;
    } finally {
      theirs.close();
    }
    const ready = Promise.withResolvers<"ready" | { readonly why: string }>();
    const leaves = Promise.withResolvers<"asks" | "ended">();
    const control = await ControlChannel.open<ToSupervisor, ToWorker>(ours, {
      message: (message) => {
        if (message.kind === "leaves") leaves.resolve("asks");
        else ready.resolve(message.kind === "ready" ? "ready" : message);
      },
      closed: () => {},
    });
    void child.exited.then(() => ready.resolve({ why: `it ended with ${endOf(child)}` }));
    void child.exited.then(() => leaves.resolve("ended"));
    const listeners = start.listeners.map(({ tls }, index) => ({
      descriptor: workerDescriptors.firstListener + index,
      tls,
    }));
    control.send({ kind: "serve", config: start.config, listeners });
    const promises = { ready: ready.promise, leaves: leaves.promise };
    return new WorkerProcess(child, control, promises);
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Resolves with how it ended. */
  get ended(): Promise<string> {
    return this.#process.exited.then(() => {
      this.#control.close();
      return endOf(this.#process);
    });
  }

  tell(message: ToWorker): void {
    this.#control.send(message);
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }
}

/** `status 1`, `SIGKILL`. */
export function endOf(process: Subprocess): string {
  return process.signalCode?.toString() ?? `status ${process.exitCode}`;
}

function spawn(start: WorkerStart, control: number): Subprocess {
  const listeners = start.listeners.map(({ fd }) => fd);
  const { file, argv0 } = serverProgram();
  return Bun.spawn([file, workerCommand], {
    argv0,
    stdio: ["ignore", "inherit", "inherit", start.wakeFd, control, ...listeners],
    env: start.env,
    // A session of its own: Ctrl-C on a terminal is for the supervisor, which drains.
    detached: true,
  });
}
