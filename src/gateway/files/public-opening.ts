/**
 * How files of an application's `public/` are opened: a path in, an opened descriptor out, or
 * nothing. A worker may be able to read more than the application, so a link counts only if it
 * belongs to whoever owns what it leads to, or to root: nobody shows another's files by a link.
 */
import { openBeneath } from "../../native/beneath.ts";
import { SyscallError } from "../../native/errno.ts";
import { duplicate, open } from "../../native/fd.ts";
import type { MountKind } from "../../native/mounts.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { last, PathWalk, type Place, type Step } from "../../native/path-walk.ts";
import { descriptorPath } from "../../native/pinned-socket.ts";
import type { ByteString } from "../../wire/bytes.ts";

/** Whether a mount may be entered: where it does not answer, neither do we. */
export type MayEnter = (mount: MountKind) => boolean;

/** What an application's `public/`, or the way to it, lies on; never waits for it. */
export function kindOfPublic(root: ByteString): MountKind {
  let kind: MountKind = "local";
  const mayEnter: MayEnter = (mount) => {
    kind = mount;
    return mount === "local";
  };
  openPublicDirectory(root, mayEnter)?.close();
  return kind;
}

/**
 * @param root of the application; links on the way to it are followed, and `public` may be one to
 * something in the application. @returns undefined: there is none, or not for us; that there is no
 * such application is for the application server to say.
 */
export function openPublicDirectory(root: ByteString, mayEnter: MayEnter): OwnedFd | undefined {
  return reach(
    mayEnter,
    (walk) => walk.from(walk.absolute(root), "public", true),
    ({ fd, facts }) => (facts.isDirectory() ? duplicate(fd.number) : undefined),
  );
}

/**
 * Opens a file for reading; what it is must be asked then.
 * @param directory of openPublicDirectory. @param name relative to it. @returns undefined: there is
 * none, or not for us. @throws SyscallError when descriptors are short.
 */
export function openPublicFile(
  directory: number,
  name: ByteString,
  mayEnter: MayEnter,
): OwnedFd | undefined {
  const file = openBeneath(directory, name);
  if (file !== "link") return file;
  return reach(
    mayEnter,
    (walk) => walk.below(directory, name),
    // Only a file: what a link leads to may be a device, which opening alone can set off.
    ({ fd, facts }) => (facts.isFile() ? open(descriptorPath(fd.number), "read") : undefined),
  );
}

/** Walks, and takes what is there if every link on the way may lead there. */
function reach(
  mayEnter: MayEnter,
  go: (walk: PathWalk) => Place,
  take: (step: Step) => OwnedFd | undefined,
): OwnedFd | undefined {
  using walk = new PathWalk(mayEnter);
  try {
    const place = go(walk);
    const isHonest = walk.links.every(
      ({ link, target }) => link.facts.uid === 0 || link.facts.uid === target.facts.uid,
    );
    return isHonest ? take(last(place)) : undefined;
  } catch (error) {
    if (error instanceof SyscallError && !isShortage(error)) return undefined;
    throw error;
  }
}

function isShortage({ code }: SyscallError): boolean {
  return code === "EMFILE" || code === "ENFILE" || code === "ENOMEM";
}
