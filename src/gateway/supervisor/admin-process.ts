/**
 * The process that serves the admin address, as the supervisor sees it: the same binary, with its
 * end of a control channel (3) and the listening socket (4), as a user that owns nothing. One that
 * dies, hangs, or says what it may not, is replaced; nothing else ends with it.
 */
import type { Subprocess } from "bun";

import type { OwnedFd } from "../../native/owned-fd.ts";
import { causeText } from "../../wire/cause.ts";
import {
  type AdminAnswer,
  type AdminQuestion,
  fromAdmin,
  type FromAdmin,
  maxQuestions,
  type ToAdmin,
} from "../admin/admin-messages.ts";
import { ControlChannel } from "../control-channel.ts";
import type { Heartbeat } from "./heartbeat.ts";
import {
  endOf,
  type Report,
  RestartPause,
  startOwn,
  watchOwn,
  withChannel,
} from "./own-process.ts";

/** The hidden command of the binary. */
export const adminCommand = "gateway-admin";

export const adminDescriptors = { control: 3, listener: 4 } as const;

interface AdminProcessOptions {
  /** Our descriptor of the listening socket. */
  readonly listener: number;
  readonly isTcp: boolean;
  /** Whom it runs as; undefined: as we do. */
  readonly user: string | undefined;
  readonly silenceMs: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly report: Report;
  answer(question: AdminQuestion): Promise<AdminAnswer>;
  /** Another takes the place of one that has ended. */
  replaced(): void;
}

export class AdminProcess {
  readonly #options: AdminProcessOptions;
  readonly #pause = new RestartPause();
  #process: Subprocess | undefined;
  #control: ControlChannel<FromAdmin, ToAdmin> | undefined;
  #heartbeat: Heartbeat | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;
  /** Questions that have no answer yet. */
  #asked = 0;
  /** It is being ended: what else it says is of no interest. */
  #hasOffended = false;

  constructor(options: AdminProcessOptions) {
    this.#options = options;
    void this.#start();
  }

  /** Undefined between two of them. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  get lagMs(): number | undefined {
    return this.#heartbeat?.lagMs;
  }

  /** Ends it at once: it has nothing that could be lost. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#process?.kill("SIGKILL");
    await this.#process?.exited;
  }

  async #start(): Promise<void> {
    const startedMs = performance.now();
    try {
      const { env, listener } = this.#options;
      const [child, ours] = withChannel((control) =>
        startOwn([adminCommand], env, [control, listener]),
      );
      this.#process = child;
      await this.#introduce(child, ours);
      await child.exited;
      if (!this.#isClosed) {
        this.#options.report(0, "admin process died", { pid: child.pid, end: endOf(child) });
      }
    } catch (error) {
      this.#options.report(0, "admin process not started", { cause: causeText(error) });
    }
    this.#heartbeat?.stop();
    this.#heartbeat = undefined;
    this.#control?.close();
    this.#process = undefined;
    if (this.#isClosed) return;
    const pauseMs = this.#pause.after(performance.now() - startedMs);
    this.#timer = setTimeout(() => {
      this.#options.replaced();
      void this.#start();
    }, pauseMs);
  }

  async #introduce(child: Subprocess, ours: OwnedFd): Promise<void> {
    const { user, isTcp } = this.#options;
    this.#asked = 0;
    this.#hasOffended = false;
    const control = await ControlChannel.open<FromAdmin, ToAdmin>(ours, fromAdmin, {
      message: (message) => this.#hear(message, child, control),
      closed: (why) => why !== undefined && this.#offends(child, why),
    });
    this.#control = control;
    control.send({ kind: "serve", user, isTcp });
  }

  /** Each message has its time; at another it is an offence. */
  #hear(message: FromAdmin, child: Subprocess, control: ControlChannel<FromAdmin, ToAdmin>): void {
    if (this.#hasOffended) return;
    switch (message.kind) {
      case "ready":
        if (this.#heartbeat !== undefined) return this.#offends(child, "it is ready again");
        this.#heartbeat = this.#watch(child, control);
        return;
      case "failed":
        this.#options.report(0, "admin address not served", { cause: message.why });
        return;
      case "pong":
        if (this.#heartbeat?.isAsked !== true) return this.#offends(child, "it answers unasked");
        return this.#heartbeat.heard();
      case "ask":
        if (this.#asked >= maxQuestions) return this.#offends(child, "it asks too much");
        this.#asked += 1;
        return void this.#answer(message.id, message.question, control);
    }
  }

  async #answer(
    id: number,
    question: AdminQuestion,
    control: ControlChannel<FromAdmin, ToAdmin>,
  ): Promise<void> {
    const answer = await this.#options.answer(question).catch((error: unknown) => {
      return { status: 500, type: "text/plain", body: `${causeText(error)}\n` };
    });
    if (control !== this.#control) return;
    this.#asked -= 1;
    control.send({ kind: "answer", id, answer });
  }

  #watch(child: Subprocess, control: ControlChannel<FromAdmin, ToAdmin>): Heartbeat {
    const { silenceMs, report } = this.#options;
    const ask = () => control.send({ kind: "ping" });
    return watchOwn("admin process", child, silenceMs, report, ask);
  }

  #offends(child: Subprocess, cause: string): void {
    if (this.#hasOffended) return;
    this.#hasOffended = true;
    this.#options.report(0, "admin process ended for what it says", { pid: child.pid, cause });
    child.kill("SIGKILL");
  }
}
