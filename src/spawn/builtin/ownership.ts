/**
 * Whose the files are that an instance is run from: suexec's rules. Who can put a file there
 * decides what the instance does, so he must be root, or the user it runs as, and nobody else may
 * write it. Links count too: whoever makes one chooses what it leads to.
 *
 * A group that may write counts as others, unless it is the user's own, or root has allowed it.
 */
import { findUserById, type User } from "../../native/process.ts";
import type { Step } from "../../native/path-walk.ts";
import { ascii, fromText, toText, type ByteString } from "../../wire/bytes.ts";
import type { AppDirectory } from "./app-directory.ts";

const othersWrite = 0o002;
const groupWrites = 0o020;
const sticky = 0o1000;

export interface Run {
  readonly user: User;
  /** User id of the startup file's owner. */
  readonly owner: number;
  readonly startupFile: ByteString;
  /** Other files that it is run from, if they are there. */
  readonly files: readonly ByteString[];
}

/** @throws Error that says which file is whose. */
export function checkOwners(directory: AppDirectory, run: Run): void {
  for (const link of directory.links) checkOwner(link, run);
  checkStep(directory.itself, undefined, run);
  for (const file of [run.startupFile, ...run.files]) {
    const { steps } = directory.look(file);
    for (const [index, step] of steps.entries()) checkStep(step, steps[index + 1], run);
  }
}

/** @param next what the walk has found in it. */
function checkStep(step: Step, next: Step | undefined, run: Run): void {
  checkOwner(step, run);
  const { facts, path } = step;
  if (facts.isSymbolicLink()) return; // Its mode means nothing.
  // On a way through a sticky directory nobody but its owner exchanges what comes next, and that is
  // checked. But where files are looked for, anybody could put another beside them.
  const leadsOn = next !== undefined && !next.facts.isFile();
  if (leadsOn && (facts.mode & sticky) !== 0 && facts.uid === 0) return;
  const isOpen = (facts.mode & othersWrite) !== 0;
  const { uid, gid, mode } = facts;
  const isShared = (mode & groupWrites) !== 0 && uid !== 0 && gid !== run.user.gid;
  if (!isOpen && !isShared) return;
  const whom = isOpen ? "everybody" : `group ${gid}`;
  throw new Error(
    `'${shown(path)}' may be written by ${whom}, and the application would run as ` +
      `${run.user.name}: chmod ${isOpen ? "o-w" : "g-w"} it, or configure the user`,
  );
}

function checkOwner({ facts, path }: Step, { user, owner }: Run): void {
  const { uid } = facts;
  if (uid === 0 || uid === owner || uid === user.uid) return;
  const what = facts.isSymbolicLink() ? "the link " : "";
  const whose = findUserById(uid)?.name ?? `user ${uid}`;
  throw new Error(
    `${what}'${shown(path)}' belongs to ${whose}, and the application would run as ` +
      `${user.name}: what it is run from must be one user's or root's, or configure the user`,
  );
}

function shown(path: string): string {
  return toText(ascii(path));
}

/**
 * Where a program may lie that is found below the root, relative to it: by a PATH that leads there,
 * or by its own path.
 */
export function programsBelow(
  root: ByteString,
  program: ByteString,
  path: ByteString,
): ByteString[] {
  if (program.includes("/")) return below(root, program);
  const places = path.split(":").flatMap((entry) => below(root, ascii(entry)));
  return places.map((place) => ascii(place === "" ? program : `${place}/${program}`));
}

/** The path relative to the root, if it leads there. */
export function below(root: ByteString, path: ByteString): ByteString[] {
  if (!path.startsWith("/")) return [path];
  if (path === root) return [fromText("")];
  return path.startsWith(`${root}/`) ? [ascii(path.slice(root.length + 1))] : [];
}
