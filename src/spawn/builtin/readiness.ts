/** Waiting for a process of the built-in spawner to say that it is ready, or why it is not. */
import { inTime } from "../../native/in-time.ts";
import type { InstanceProcess } from "./instance-process.ts";
import type { Announcement, Ready } from "./lifeline.ts";
import type { Preloader } from "./preloader.ts";
import type { Progress } from "./start-plan.ts";

/** The time a spawn has: it begins when this is made. */
export class TimeLimit {
  readonly limitMs: number;
  #endsMs: number;
  isCut = false;
  readonly #cut = Promise.withResolvers<never>();

  constructor(limitMs: number) {
    this.limitMs = limitMs;
    this.#endsMs = performance.now() + limitMs;
    this.#cut.promise.catch(() => {}); // Usually nobody waits when it is cut.
  }

  /** No time is left; `why` is what those who wait are told. */
  cut(why: string): void {
    this.isCut = true;
    this.#endsMs = performance.now();
    this.#cut.reject(new Error(why));
  }

  get remainingMs(): number {
    return Math.max(0, this.#endsMs - performance.now());
  }

  /** The value, if it comes in time. @throws Error (as a rejection): it does not. */
  keep<T>(value: Promise<T>): Promise<T> {
    const late = () => {
      throw new Error(`it was not ready within ${this.limitMs} ms`);
    };
    return inTime(this.unlessCut(value), this.remainingMs, late);
  }

  /** The value of what keeps to the time itself. @throws Error (as a rejection): it was cut. */
  unlessCut<T>(value: Promise<T>): Promise<T> {
    return Promise.race([value, this.#cut.promise]);
  }
}

/**
 * @returns what it announces. @throws Error (as a rejection): it ended, said why it
 * cannot (`progress.detail` has all of it), or took too long.
 */
export async function untilReady(
  started: InstanceProcess | Preloader,
  limit: TimeLimit,
  progress: Progress,
): Promise<Ready> {
  const said = await limit.keep(started.lifeline.announced);
  if (said === undefined) throw new Error(`it ${await started.describeEnd()} before it was ready`);
  if (said.kind === "ready") return said;
  throw refusalIn(said, progress);
}

/** Why it cannot start, in its own words; `progress.detail` has all of them. */
export function refusalIn(
  { text }: Extract<Announcement, { kind: "failed" }>,
  progress: Progress,
): Error {
  progress.detail = Buffer.from(text).toString("utf8");
  return new Error(firstLine(progress.detail));
}

/** The line that names the error: loaders put a piece of source code before it. */
function firstLine(text: string): string {
  const lines = text.split("\n").map((line) => line.trim());
  const named = lines.find((line) => /^[\w.]*(error|message|exception)\b.*:/i.test(line));
  return (named ?? lines.find((line) => line !== "") ?? "it said nothing").slice(0, 500);
}
