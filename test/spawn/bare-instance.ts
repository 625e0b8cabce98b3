/**
 * An instance as its loader makes it, with the server's ends in the hands of the test: its
 * listening socket, and its lifeline, where all that it says can be read.
 */
import { setNonBlocking } from "../../src/native/fd.ts";
import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { sendSignal, signals } from "../../src/native/process.ts";
import { receive } from "../../src/native/socket.ts";
import { withEnds } from "../../src/spawn/builtin/instance-ends.ts";
import { startProcess } from "../../src/spawn/builtin/running-process.ts";
import { LoaderDirectory } from "../../src/spawn/builtin/loader-files.ts";
import { planStart } from "../../src/spawn/builtin/start-plan.ts";
import type { AppType } from "../../src/wire/app-request.ts";
import type { ByteString } from "../../src/wire/bytes.ts";
import { Decoder } from "../../src/wire/decoder.ts";
import { until } from "../helpers/condition.ts";
import { connected, spawnRequest } from "./support.ts";

export interface BareOptions {
  /** Sessions at once; default: the loader's. */
  readonly concurrency?: number;
  readonly threads?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Whether the lifeline's description is non-blocking from the start. */
  readonly isLifelineNonBlocking?: boolean;
}

export class BareInstance {
  /** What it has said on its lifeline. */
  readonly said: string[][] = [];
  readonly lines: ByteString[] = [];
  readonly #decoder = new Decoder();
  readonly #directory: LoaderDirectory;
  #started: Awaited<ReturnType<BareInstance["start"]>> | undefined;

  /** @param base where its loader may lie; its directory is removed by `end`. */
  constructor(base: string) {
    this.#directory = new LoaderDirectory(base);
  }

  /** Starts the application in `root`, and waits until it is ready. */
  async begin(root: string, appType: AppType, options: BareOptions = {}): Promise<this> {
    this.#started = await this.start(root, appType, options);
    await until(
      "it is ready",
      () => this.messages().length > 0,
      () => this.lines,
    );
    return this;
  }

  private async start(root: string, appType: AppType, options: BareOptions) {
    const { isLifelineNonBlocking = false, ...asked } = options;
    const request = spawnRequest(root, { appType, ...asked });
    const plan = await planStart(request, {}, this.#directory, {});
    return withEnds(
      this.#directory.socketPlace(),
      (line) => this.lines.push(line),
      (inherited) => {
        setNonBlocking(inherited.lifeline.number, isLifelineNonBlocking);
        return startProcess(plan.command("instance"), inherited);
      },
    );
  }

  get #running() {
    if (this.#started === undefined) throw new Error("it has not begun");
    return this.#started;
  }

  get pid(): number {
    return this.#running.started.pid;
  }

  connect(): OwnedFd {
    return connected(this.#running.own.socket);
  }

  /** All that it has said by now. */
  messages(): readonly string[][] {
    for (;;) {
      const bytes = receive(this.#running.own.lifeline.number, 65_536);
      if (bytes === "empty" || bytes === "end") break;
      this.#decoder.push(bytes);
    }
    for (let next = this.#decoder.nextArray(); next !== undefined;) {
      this.said.push(next);
      next = this.#decoder.nextArray();
    }
    return this.said;
  }

  /** How many sessions it has said to be done with. */
  done(): number {
    const numbers = this.messages().map(([name, number]) => (name === "done" ? Number(number) : 0));
    return numbers.reduce((sum, number) => sum + number, 0);
  }

  /** As the death of the server would. */
  closeLifeline(): void {
    this.#running.own.lifeline.close();
  }

  /** Kills it, with all of its group, and removes what was made for it. */
  async end(): Promise<void> {
    const { started, own } = this.#running;
    sendSignal(-started.pid, signals.SIGKILL);
    await started.exited;
    own.lifeline.close();
    own.socket.close();
    own.output.stop();
    this.#directory.remove();
  }
}
