/**
 * Resolves a path as the kernel does (path_resolution(7)), but step by step, with each step opened
 * (O_PATH, O_NOFOLLOW) before it is looked at: who walks sees every link on the way and whose it
 * is, and what he decides about is what he holds, whatever becomes of the names. Paths are byte
 * strings.
 *
 * `..` goes back to where the walk has come from. All descriptors are closed with the walk.
 */
import { fstatSync, type Stats } from "node:fs";

import { errnos, SyscallError } from "./errno.ts";
import { duplicate, open, openAt } from "./fd.ts";
import { C } from "./layout.ts";
import { address, arenaBytes, checked, cPath, libc, reserve } from "./libc.ts";
import { mountKindOf } from "./look.ts";
import { mounterOf } from "./mounter.ts";
import type { MountKind } from "./mounts.ts";
import { OwnedFd } from "./owned-fd.ts";

/** As many as the kernel follows. */
const maxLinks = 40;
const pathRoom = 4096; // PATH_MAX (limits.h)

const linkText = reserve(pathRoom);

/** One component of a path, opened. */
export interface Step {
  readonly fd: OwnedFd;
  /** What is in a FUSE file system of a user's is his, whatever that says. */
  readonly facts: Stats;
  /** The path as it was walked so far, for people. */
  readonly path: string;
}

/** A link, and what it leads to in the end. */
export interface SymbolicLink {
  readonly link: Step;
  readonly target: Step;
}

/** A directory, or a file at the end, and the directories that led to it: the root is the first. */
export type Place = readonly Step[];

export class PathWalk implements Disposable {
  readonly #opened = new DisposableStack();
  readonly #steps: Step[] = [];
  readonly #links: SymbolicLink[] = [];
  readonly #mayEnter: ((mount: MountKind) => boolean) | undefined;
  /** Followed by the walk at hand. */
  #followed = 0;

  /**
   * @param mayEnter asked of what each step lies on, before the step is asked for anything, which
   * may wait: EXDEV where it says no.
   */
  constructor(mayEnter?: (mount: MountKind) => boolean) {
    this.#mayEnter = mayEnter;
  }

  /** All steps so far, links too, in order; also those of a walk that failed. */
  get steps(): readonly Step[] {
    return this.#steps;
  }

  /** The links that were followed to their end. */
  get links(): readonly SymbolicLink[] {
    return this.#links;
  }

  /** @throws SyscallError: there is nothing there, or it may not be looked at. */
  absolute(path: string): Place {
    this.#followed = 0;
    return this.#walk([this.#start("/")], path, path, true);
  }

  /** Walks on from a place. @param isBeneath never out of it: EXDEV. @throws as absolute. */
  from(place: Place, path: string, isBeneath = false): Place {
    this.#followed = 0;
    return this.#walk(isBeneath ? place.slice(-1) : place, path, path, !isBeneath);
  }

  /** Walks below an open directory, never out of it: EXDEV. @throws SyscallError as absolute. */
  below(directory: number, path: string): Place {
    const fd = this.#opened.use(duplicate(directory));
    return this.from([{ fd, facts: factsOf(fd.number), path: "" }], path, true);
  }

  [Symbol.dispose](): void {
    this.#opened.dispose();
  }

  #start(path: string): Step {
    const fd = this.#opened.use(open(path, "directory"));
    return { fd, facts: factsOf(fd.number), path };
  }

  #walk(start: Place, path: string, shown: string, isFree: boolean): Place {
    let place = start;
    for (const name of path.split("/")) {
      if (name === "" || name === ".") continue;
      if (name === "..") {
        if (place.length > 1) place = place.slice(0, -1);
        else if (!isFree) throw new SyscallError("walk", shown, errnos.EXDEV);
        continue;
      }
      place = this.#step(place, name, shown, isFree);
    }
    return place;
  }

  #step(place: Place, name: string, shown: string, isFree: boolean): Place {
    const parent = last(place);
    const opened = openAt(parent.fd.number, name, C.O_PATH | C.O_NOFOLLOW, 0);
    const fd = this.#opened.use(new OwnedFd(checked(opened, "open", name)));
    if (this.#mayEnter?.(mountKindOf(fd.number)) === false) {
      throw new SyscallError("walk", shown, errnos.EXDEV);
    }
    const facts = factsOf(fd.number);
    const step = { fd, facts, path: parent.path === "/" ? `/${name}` : `${parent.path}/${name}` };
    this.#steps.push(step);
    if (!facts.isSymbolicLink()) return [...place, step];
    this.#followed += 1;
    if (this.#followed > maxLinks) throw new SyscallError("walk", shown, errnos.ELOOP);
    const led = this.#follow(place, readLink(step), shown, isFree);
    this.#links.push({ link: step, target: last(led) });
    return led;
  }

  #follow(place: Place, target: string, shown: string, isFree: boolean): Place {
    if (!target.startsWith("/")) return this.#walk(place, target, shown, isFree);
    if (!isFree) throw new SyscallError("walk", shown, errnos.EXDEV);
    const [root = this.#start("/")] = place;
    return this.#walk([root], target, shown, isFree);
  }
}

/** What the walk has led to. */
export function last(place: Place): Step {
  const step = place.at(-1);
  if (step === undefined) throw new Error("a walk has no beginning");
  return step;
}

function factsOf(fd: number): Stats {
  const facts = fstatSync(fd);
  const mounter = mounterOf(fd, facts.dev);
  return mounter === undefined ? facts : Object.assign(facts, { uid: mounter });
}

function readLink({ fd, path }: Step): string {
  const room = address(linkText);
  const result = libc.syscall(C.SYS_READLINKAT, fd.number, cPath(""), room, pathRoom, 0);
  const length = checked(result, "readlinkat", path);
  return Buffer.from(arenaBytes.subarray(linkText, linkText + length)).toString("latin1");
}
