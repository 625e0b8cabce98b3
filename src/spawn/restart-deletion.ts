/**
 * Deletes `tmp/restart.txt` of an application, if that is ours to do: a link on the way counts only
 * if it belongs to whoever owns what it leads to, or to root, so that nobody has a server that is
 * root delete files of others. May wait for the file system.
 */
import { lstatSync, statSync } from "node:fs";

import { SyscallError } from "../native/errno.ts";
import { open, unlink } from "../native/fd.ts";
import { last, PathWalk } from "../native/path-walk.ts";
import { descriptorPath } from "../native/pinned-socket.ts";
import type { ByteString } from "../wire/bytes.ts";

/** `gone`: somebody else was quicker. `kept`: it is there, and not to be deleted. */
export type Deletion =
  | { readonly kind: "absent" | "deleted" | "gone" }
  /** Its time of change in nanoseconds, in digits. */
  | { readonly kind: "kept"; readonly changedNs: string };

/**
 * @param done is told what came of it once the name is gone. Only then is the content given back
 * to the file system, which may take seconds.
 */
export function deleteRestartFile(root: ByteString, done: (deletion: Deletion) => void): void {
  using walk = new PathWalk();
  using held = new DisposableStack();
  done(tryToDelete(walk, held, root));
}

function tryToDelete(walk: PathWalk, held: DisposableStack, root: ByteString): Deletion {
  try {
    const directory = last(walk.from(walk.absolute(root), "tmp")).fd;
    const path = `${descriptorPath(directory.number)}/restart.txt`;
    held.use(open(path, "path"));
    const isOurs = walk.links.every(
      ({ link, target }) => link.facts.uid === 0 || link.facts.uid === target.facts.uid,
    );
    const result = isOurs || process.geteuid?.() !== 0 ? unlink(path) : "not ours";
    if (result === "absent") return { kind: "gone" };
    return result === "deleted" ? { kind: "deleted" } : keptAt(path);
  } catch (error) {
    // Nothing there, or nothing that we may see.
    if (error instanceof SyscallError || error instanceof RangeError) return { kind: "absent" };
    throw error;
  }
}

function keptAt(path: string): Deletion {
  const options = { bigint: true, throwIfNoEntry: false } as const;
  try {
    // A link that leads nowhere is there all the same.
    const facts = statSync(path, options) ?? lstatSync(path, options);
    if (facts === undefined) return { kind: "gone" };
    return { kind: "kept", changedNs: String(facts.mtimeNs) };
  } catch {
    return { kind: "absent" };
  }
}
