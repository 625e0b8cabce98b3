/**
 * Looks at applications' files that may take long, where nobody waits for them: in processes of our
 * own binary, a few at most, each of which answers one question at a time. A question that takes
 * too long costs its helper its life, and its application's later questions are refused until that
 * helper is gone and a pause is over. So what one file system holds up, others do not wait for.
 */
import type { Subprocess } from "bun";

import type { ByteString } from "../wire/bytes.ts";
import { causeText } from "../wire/cause.ts";
import type { LookRequest, Looked } from "./builtin/application-look.ts";
import { ownEnvironment } from "./launch-environment.ts";
import { asciiJson, launcherCommand } from "./launch-plan.ts";
import { filesAside, launchVariable } from "./launch-variable.ts";
import { noteChild } from "./our-children.ts";
import { waitForExit } from "./process-end.ts";
import type { Deletion } from "./restart-deletion.ts";

export type Question =
  | { readonly kind: "restart"; readonly root: ByteString }
  | { readonly kind: "look"; readonly request: LookRequest };

export interface Answers {
  readonly restart?: Deletion;
  readonly look?: Looked;
}

/** As many applications can hang at once before others wait for a helper. */
const maxHelpers = 16;
/** How long an application is not asked about again once its files have not answered. */
const pauseMs = 5_000;
/** A helper that is asked nothing for so long is ended. */
const idleMs = 2_000;

type Process = Subprocess<"pipe", "pipe", "ignore">;

export class FilesAside {
  readonly #idle: Helper[] = [];
  readonly #all = new Set<Helper>();
  /** Questions (as keyOf names them) that are not answered, and until when none is asked again. */
  readonly #hanging = new Map<string, number>();
  /** Those who wait until a helper is free. */
  readonly #waiting = new Set<() => void>();
  readonly #launcher: readonly string[];
  #closed = false;

  constructor(launcher: readonly string[] = launcherCommand()) {
    this.#launcher = launcher;
  }

  /**
   * Whether the application's files have not answered just now: it is not worth asking again. The
   * kinds are apart, since what is too late for the one may be in time for the other.
   */
  hangs(root: ByteString, kind: Question["kind"]): boolean {
    if (this.#hanging.size === 0) return false;
    const key = keyOf(root, kind);
    const untilMs = this.#hanging.get(key);
    if (untilMs === undefined) return false;
    if (performance.now() < untilMs) return true;
    this.#hanging.delete(key);
    return false;
  }

  /**
   * @param limitMs for the answer, and as long before it for a helper that is free.
   * @throws Error (as a rejection): there was none in time, or no helper can be had.
   */
  async deleteRestartFile(root: ByteString, limitMs: number): Promise<Deletion> {
    const { restart } = await this.#ask(root, { kind: "restart", root }, limitMs);
    return restart ?? { kind: "absent" };
  }

  /** @throws as deleteRestartFile. */
  async look(request: LookRequest, limitMs: number): Promise<Looked> {
    const { look } = await this.#ask(request.root, { kind: "look", request }, limitMs);
    return look ?? { why: "its helper gave no answer" };
  }

  close(): void {
    this.#closed = true;
    for (const helper of this.#all) helper.kill();
    for (const wake of this.#waiting) wake();
  }

  async #ask(root: ByteString, question: Question, limitMs: number): Promise<Answers> {
    const key = keyOf(root, question.kind);
    if (this.hangs(root, question.kind)) throw new Error("its files do not answer");
    const helper = await this.#take(limitMs);
    const answer = helper.ask(question);
    // All of the time: that others' files hang says nothing about these.
    if (await waitForExit(answer, limitMs)) {
      const answers = await answer;
      if (answers === undefined) throw new Error("look at its files: the helper has ended");
      this.#giveBack(helper);
      return answers;
    }
    this.#hanging.set(key, Infinity);
    helper.kill();
    void helper.ended.then(() => this.#pause(key));
    throw new Error(`its files did not answer within ${Math.round(limitMs / 100) / 10} s`);
  }

  #pause(key: string): void {
    const now = performance.now();
    for (const [other, untilMs] of this.#hanging) {
      if (untilMs <= now) this.#hanging.delete(other);
    }
    this.#hanging.set(key, now + pauseMs);
  }

  async #take(limitMs: number): Promise<Helper> {
    const untilMs = performance.now() + limitMs;
    for (;;) {
      if (this.#closed) throw new Error("the server is shutting down");
      const idle = this.#idle.pop();
      if (idle !== undefined && !idle.hasEnded) return idle.takeUp();
      if (idle !== undefined) continue;
      if (this.#all.size < maxHelpers) return this.#start();
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) throw new Error("files of too many applications do not answer");
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      await waitForExit(promise, leftMs);
      this.#waiting.delete(resolve);
    }
  }

  #start(): Helper {
    const helper = new Helper(this.#launcher);
    this.#all.add(helper);
    void helper.ended.then(() => this.#forget(helper));
    return helper;
  }

  #forget(helper: Helper): void {
    this.#all.delete(helper);
    this.#wakeOne();
  }

  #wakeOne(): void {
    const [first] = this.#waiting;
    if (first === undefined) return;
    this.#waiting.delete(first);
    first();
  }

  #giveBack(helper: Helper): void {
    helper.putDown();
    if (!helper.hasEnded) this.#idle.push(helper);
    this.#wakeOne();
  }
}

function keyOf(root: ByteString, kind: Question["kind"]): string {
  return `${kind} ${root}`;
}

/** One process; asked one question at a time. */
class Helper {
  readonly #process: Process;
  readonly ended: Promise<unknown>;
  hasEnded = false;
  #answer: PromiseWithResolvers<Answers | undefined> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(launcher: readonly string[]) {
    this.#process = Bun.spawn([...launcher, filesAside], {
      env: { ...ownEnvironment(), [launchVariable]: filesAside },
      stdio: ["pipe", "pipe", "ignore"],
    });
    noteChild(this.#process);
    this.ended = this.#process.exited;
    void this.ended.then(() => this.#end());
    void this.#read();
  }

  /** Undefined: it ended without an answer. */
  ask(question: Question): Promise<Answers | undefined> {
    this.#answer = Promise.withResolvers();
    void this.#process.stdin.write(`${asciiJson(question)}\n`);
    void this.#process.stdin.flush();
    return this.#answer.promise;
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  takeUp(): this {
    clearTimeout(this.#timer);
    return this;
  }

  putDown(): void {
    this.#timer = setTimeout(() => {
      this.hasEnded = true; // Nobody takes it up any more.
      void this.#process.stdin.end();
    }, idleMs);
    this.#timer.unref();
  }

  #end(): void {
    this.hasEnded = true;
    clearTimeout(this.#timer);
    this.#answer?.resolve(undefined);
  }

  async #read(): Promise<void> {
    let rest = "";
    try {
      for await (const chunk of this.#process.stdout) {
        const lines = (rest + Buffer.from(chunk).toString("latin1")).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) this.#answer?.resolve(JSON.parse(line) as Answers);
      }
    } catch (error) {
      throw new Error(`read a helper's answer: ${causeText(error)}`, { cause: error });
    }
  }
}
