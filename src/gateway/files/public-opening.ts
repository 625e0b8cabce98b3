/**
 * How files of an application's `public/`, or of another place, are opened: a path in, an opened
 * descriptor out, or nothing. A worker may be able to read more than the application, so a link
 * counts only if it belongs to whoever owns what it leads to, or to root: nobody shows another's
 * files by a link. Rules:
 * - Below the place links are followed within it.
 * - One may lead out to a directory if both belong to the application's owner or to root, as what a
 *   deployment shares between releases; not to one that holds the place. From there on nothing
 *   leads out.
 * - What was judged is what is opened: each step is a descriptor (native/path-walk.ts).
 */
import { openBeneath } from "../../native/beneath.ts";
import { SyscallError } from "../../native/errno.ts";
import { duplicate, open } from "../../native/fd.ts";
import type { MountKind } from "../../native/mounts.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import {
  last,
  PathWalk,
  type Place,
  type Step,
  type SymbolicLink,
} from "../../native/path-walk.ts";
import { descriptorPath } from "../../native/pinned-socket.ts";
import { ascii, fromText, type ByteString } from "../../wire/bytes.ts";
import type { FilePlace } from "../config.ts";

/** Whether a mount may be entered: where it does not answer, neither do we. */
export type MayEnter = (mount: MountKind) => boolean;

/** What a place, or the way to it, lies on; never waits for it. */
export function kindOfPlace(place: FilePlace): MountKind {
  let kind: MountKind = "local";
  const mayEnter: MayEnter = (mount) => {
    kind = mount;
    return mount === "local";
  };
  openPlace(place, mayEnter)?.close();
  return kind;
}

/**
 * Opens the directory of a place. Links on the way to it are followed; `public` may be one to
 * something in the application. @returns undefined: there is none, or not for us; that there is no
 * such application is for the application server to say.
 */
export function openPlace(place: FilePlace, mayEnter: MayEnter): OwnedFd | undefined {
  return reach(
    mayEnter,
    (walk) => walkTo(walk, place),
    ({ fd, facts }) => (facts.isDirectory() ? duplicate(fd.number) : undefined),
  );
}

function walkTo(walk: PathWalk, { directory, within }: FilePlace): Place {
  const path = fromText(directory);
  if (within === undefined) return walk.absolute(path);
  const above = fromText(within);
  return walk.from(walk.absolute(above), path.slice(above.length), true);
}

/**
 * Opens a file for reading; what it is must be asked then.
 * @param directory of openPlace. @param name relative to it. @returns undefined: there is none, or
 * not for us. @throws SyscallError when descriptors are short.
 */
export function openPublicFile(
  directory: number,
  place: FilePlace,
  name: ByteString,
  mayEnter: MayEnter,
): OwnedFd | undefined {
  const file = openWithin(directory, name, mayEnter);
  return file === "elsewhere" ? openOutside(directory, place, name, mayEnter) : file;
}

/** @returns `elsewhere`: links are on the way, and they lead to nothing below the directory. */
function openWithin(
  directory: number,
  name: ByteString,
  mayEnter: MayEnter,
): OwnedFd | "elsewhere" | undefined {
  const file = openBeneath(directory, name);
  if (file !== "link") return file;
  const reached = reach(
    mayEnter,
    (walk) => walk.below(directory, name),
    // Only a file: what a link leads to may be a device, which opening alone can set off.
    ({ fd, facts }) => (facts.isFile() ? open(descriptorPath(fd.number), "read") : undefined),
  );
  return reached ?? "elsewhere";
}

/** The first directory of the name that is not below the place is one that a link leads to. */
function openOutside(
  directory: number,
  place: FilePlace,
  name: ByteString,
  mayEnter: MayEnter,
): OwnedFd | undefined {
  for (let end = name.indexOf("/"); end >= 0; end = name.indexOf("/", end + 1)) {
    const parent = name.slice(0, end);
    const isBelow = reach(
      mayEnter,
      (walk) => walk.below(directory, parent),
      ({ fd }) => duplicate(fd.number),
    );
    isBelow?.close();
    if (isBelow !== undefined) continue;
    using outside = openLinked(place, parent, mayEnter);
    if (outside === undefined) return undefined;
    const file = openWithin(outside.number, ascii(name.slice(end + 1)), mayEnter);
    return file === "elsewhere" ? undefined : file;
  }
  return undefined;
}

/** A directory to which a link leads out of the place. */
function openLinked(place: FilePlace, name: string, mayEnter: MayEnter): OwnedFd | undefined {
  let owner = 0;
  let before = 0;
  let start: Place = [];
  const isOwn = ({ link, target }: SymbolicLink) => isOf(link, owner) && isOf(target, owner);
  return reach(
    mayEnter,
    (walk) => {
      // Whose the application is; of a place without one, whose that is.
      owner = last(walk.absolute(fromText(place.within ?? place.directory))).facts.uid;
      // All of the way from `/`, which a link may begin at.
      start = walk.absolute(fromText(place.directory));
      before = walk.links.length;
      return walk.from(start, name);
    },
    ({ fd, facts }, links) => {
      // The application itself, and what is above it, is more than anybody wants to share.
      const isAbove = start.some((step) => isSame(step.facts, facts));
      const mayLead = facts.isDirectory() && !isAbove && links.slice(before).every(isOwn);
      return mayLead ? duplicate(fd.number) : undefined;
    },
  );
}

function isSame(a: Step["facts"], b: Step["facts"]): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

function isOf({ facts }: Step, owner: number): boolean {
  return facts.uid === owner || facts.uid === 0;
}

/** Walks, and takes what is there if every link on the way may lead there. */
function reach(
  mayEnter: MayEnter,
  go: (walk: PathWalk) => Place,
  take: (step: Step, links: readonly SymbolicLink[]) => OwnedFd | undefined,
): OwnedFd | undefined {
  using walk = new PathWalk(mayEnter);
  try {
    const place = go(walk);
    const isHonest = walk.links.every(
      ({ link, target }) => link.facts.uid === 0 || link.facts.uid === target.facts.uid,
    );
    return isHonest ? take(last(place), walk.links) : undefined;
  } catch (error) {
    if (error instanceof SyscallError && !isShortage(error)) return undefined;
    throw error;
  }
}

function isShortage({ code }: SyscallError): boolean {
  return code === "EMFILE" || code === "ENFILE" || code === "ENOMEM";
}
