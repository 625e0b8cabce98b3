/**
 * What outlives the server: instances that still answer when it ends. A parent waits for its
 * server, so that must not wait for them. Another process of our program, the undertaker, is given
 * what there is to be done: to write their output to the log, to end those that do not leave in
 * time, and to remove the server's directory.
 *
 * It is given pidfds, so it never reaches a stranger, and the reading ends of pipes. Their
 * lifelines it does not need: those end with the server, which tells them to leave. If it is killed
 * itself, they leave all the same, or are ended by the watchdogs of their loaders.
 */
import type { OwnedFd } from "../../native/owned-fd.ts";
import { ownProgram } from "../../native/process.ts";
import type { ByteString } from "../../wire/bytes.ts";
import { noteChild } from "../our-children.ts";
import type { EndTimes } from "./instance-process.ts";
import type { Kin } from "./strays.ts";

/** A process that is handed over. */
export interface Survivor {
  readonly pid: number;
  /** Its pidfd. */
  readonly leader: OwnedFd;
  /** Undefined: nobody can write to it any more. */
  readonly output: { readonly readEnd: OwnedFd; readonly rest: string } | undefined;
}

/** The same with what else is known of it. */
export interface Heir extends Survivor {
  readonly root: ByteString;
  readonly isPreloader: boolean;
}

/** Where the log is. */
export interface LogPlace {
  /** Undefined: stderr. */
  readonly file: ByteString | undefined;
  readonly format: "text" | "json";
}

/** A process in the plan; descriptors are by their numbers in the undertaker. */
export interface Charge extends Omit<Heir, "leader" | "output"> {
  readonly leader: number;
  readonly output: number | undefined;
  readonly rest: string;
}

/** What the undertaker is to do, as JSON in a file of the directory. */
export interface Plan {
  readonly directory: string;
  readonly log: LogPlace;
  readonly times: EndTimes;
  readonly charges: readonly Charge[];
  /** To be ended when all of those have ended. */
  readonly strays: readonly Kin[];
}

const firstDescriptor = 3;

/** The plan, and the descriptors in the order of their numbers. */
export function planFor(
  heirs: readonly Heir[],
  rest: Omit<Plan, "charges">,
): { plan: Plan; descriptors: number[] } {
  const descriptors: number[] = [];
  const add = (fd: OwnedFd): number => firstDescriptor - 1 + descriptors.push(fd.number);
  const charges = heirs.map(({ leader, output, ...known }) => ({
    ...known,
    leader: add(leader),
    output: output && add(output.readEnd),
    rest: output?.rest ?? "",
  }));
  return { plan: { ...rest, charges }, descriptors };
}

/** Starts the undertaker. @returns its process id. @throws Error: it cannot be started. */
export function startUndertaker(planFile: string, descriptors: readonly number[]): number {
  const child = Bun.spawn([ownProgram, "undertaker", planFile], {
    stdio: ["ignore", "inherit", "inherit", ...descriptors],
    // Ctrl-C on a terminal has been heard by the server, whose end this is.
    detached: true,
  });
  noteChild(child);
  child.unref();
  return child.pid;
}
