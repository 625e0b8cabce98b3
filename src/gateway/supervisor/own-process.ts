/**
 * Processes of our own binary that the supervisor starts: each with a channel to it, watched, ended
 * when it does not answer, and started anew when it has ended.
 */
import type { Subprocess } from "bun";

import type { OwnedFd } from "../../native/owned-fd.ts";
import { socketPair } from "../../native/socket.ts";
import { serverProgram } from "../../parent/pool-server.ts";
import { Heartbeat } from "./heartbeat.ts";

/** Says what happened, in the log: 0 is a warning, 1 a notable event, more is detail (LOGLEVEL). */
export type Report = (
  level: 0 | 1 | 2 | 3 | 4,
  event: string,
  fields?: Readonly<Record<string, string | number | boolean>>,
) => void;

/** @param descriptors what it has from 3 on. @throws Error: it cannot be started. */
export function startOwn(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  descriptors: readonly number[],
): Subprocess {
  const { file, argv0 } = serverProgram();
  return Bun.spawn([file, ...args], {
    argv0,
    stdio: ["ignore", "inherit", "inherit", ...descriptors],
    env,
    // A session of its own: Ctrl-C on a terminal is for the supervisor, which drains first.
    detached: true,
  });
}

/** Starts something that has the other end of a socket pair. @returns it, and our end. */
export function withChannel<T>(
  start: (theirs: number, ours: OwnedFd) => T,
): readonly [started: T, ours: OwnedFd] {
  const [ours, theirs] = socketPair();
  try {
    return [start(theirs.number, ours), ours];
  } catch (error) {
    ours.close();
    throw error;
  } finally {
    theirs.close();
  }
}

/** @param limitMs how long it may be silent; 0: for ever. @param ask what it answers at once. */
export function watchOwn(
  what: string,
  process: Subprocess,
  limitMs: number,
  report: Report,
  ask: () => void,
): Heartbeat {
  const { pid } = process;
  const dead = (silentMs: number) => {
    report(0, `${what} does not answer`, { pid, silentMs });
    process.kill("SIGKILL");
  };
  return new Heartbeat({ pid, limitMs, ask, dead });
}

/** How much longer than it may take to leave, a process is waited for before SIGKILL. */
export const killDelayMs = 2_000;

/** One that lived this long has shown that it can. */
const provenMs = 10_000;
const firstPauseMs = 100;
const maxPauseMs = 10_000;

/**
 * How long to wait before a process that has ended is started anew. What grows, if it ends again
 * and again, is the time from one start to the next: so a crash at every start does not become a
 * storm, and whoever has served meanwhile is replaced at once, a second time as well.
 */
export class RestartPause {
  #nextMs = 0;

  /** @param livedMs how long the process had lived. @returns the pause, in milliseconds. */
  after(livedMs: number): number {
    const betweenMs = livedMs >= provenMs ? 0 : this.#nextMs;
    this.#nextMs = Math.min(maxPauseMs, betweenMs === 0 ? firstPauseMs : betweenMs * 2);
    return Math.max(0, Math.ceil(betweenMs - livedMs));
  }
}

/** `status 1`, `SIGKILL`. */
export function endOf(process: Subprocess): string {
  return process.signalCode?.toString() ?? `status ${process.exitCode}`;
}
