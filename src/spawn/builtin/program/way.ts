/**
 * How sessions reach a program that knows nothing of us: it is told where to listen, and what
 * listens there is looked at before it is believed. One way is made for each instance, before it is
 * started.
 */
import type { OwnedFd } from "../../../native/owned-fd.ts";

/** Where sessions with an instance are connected. */
export interface SessionSocket {
  /** As connectUnix. */
  connect(): OwnedFd | "full";
  /** Nothing is connected from now on. */
  close(): void;
  /** Removes, once closed, what lies in the file system for it. */
  remove?(): void;
}

/** Whose a program is. */
export interface ProgramOwner {
  /** The process that was started. */
  readonly pid: number;
  /** User id that it runs as. */
  readonly uid: number;
}

export interface Way extends SessionSocket {
  /** For people: where it is to listen. */
  readonly where: string;
  /** Variables of its environment, `name=value`. */
  readonly variables: readonly string[];
  /** A socket that it inherits as descriptor 3; the taker closes it. */
  readonly listener: OwnedFd | undefined;
  /** What stands for a word in braces in its command. */
  readonly words: Readonly<Record<string, string>>;
  /** Whether it listens by now. @throws Error: somebody else does. */
  isListening(owner: ProgramOwner): boolean;
}

/** A word of a command with what is in braces filled in, where that means something. */
export function filled(word: string, { words }: Way): string {
  return word.replace(/\{(\w+)\}/g, (whole, name: string) =>
    Object.hasOwn(words, name) ? (words[name] ?? whole) : whole,
  );
}
