/**
 * Opens files of ours, logs and configuration, by paths that may lead through directories of
 * others: whoever owns such a directory could put a link there, and have a server that is root
 * write to, or read, any file. So links of others count only if they lead to what is theirs. Each
 * step is opened before it is judged (path-walk.ts). Paths are byte strings.
 */
import { readlinkSync } from "node:fs";

import { errnos, orUndefined, SyscallError } from "./errno.ts";
import { open } from "./fd.ts";
import type { MountKind } from "./mounts.ts";
import type { OwnedFd } from "./owned-fd.ts";
import { last, PathWalk, type Step } from "./path-walk.ts";
import { descriptorPath } from "./pinned-socket.ts";

/** Names of our own descriptors (proc(5)): what they mean was opened by whoever started us. */
const ownDescriptors = /^\/(dev\/(stdin|stdout|stderr|fd\/\d+)|proc\/self\/fd\/\d+)$/;

/** A link that is not followed; the message says whose. */
export class ForeignLinkError extends Error {
  override readonly name = "ForeignLinkError";
}

interface OpenRules {
  /** Of a file that is made; absent: 0644. */
  readonly permissions?: number;
  /** As of PathWalk. */
  readonly mayEnter?: (mount: MountKind) => boolean;
}

/** As many links to nothing as are followed to make a file. */
const maxLinks = 10;

/**
 * @param mode `append` makes the file if there is none, also where a link of ours leads to.
 * @param linksLeft to nothing that are followed. @returns a non-blocking descriptor.
 * @throws SyscallError, ForeignLinkError.
 */
export function openOwn(
  path: string,
  mode: "read" | "append",
  rules: OpenRules = {},
  linksLeft = maxLinks,
): OwnedFd {
  if (ownDescriptors.test(path)) return open(path, mode);
  const whole = path.startsWith("/")
    ? path
    : `${Buffer.from(process.cwd()).toString("latin1")}/${path}`;
  const slash = whole.lastIndexOf("/");
  const name = whole.slice(slash + 1);
  using walk = new PathWalk(rules.mayEnter);
  const directory = walk.absolute(whole.slice(0, slash + 1));
  checkLinks(walk);
  const before = walk.steps.length;
  const found = orUndefined(() => last(walk.from(directory, name)), errnos.ENOENT);
  checkLinks(walk);
  if (found === undefined) {
    const link = walk.steps[before]; // One that leads nowhere.
    const isOurs = link === undefined || isTrusted(link);
    if (!isOurs || mode === "read") throw new SyscallError("open", path, errnos.ENOENT);
    if (link !== undefined) return makeWhereItLeads(link, last(directory), rules, linksLeft);
    const fresh = `${descriptorPath(last(directory).fd.number)}/${name}`;
    return open(fresh, "create", rules.permissions);
  }
  const isByLink = walk.links.some(({ target }) => target === found);
  checkFile(found, isByLink, last(directory));
  return open(descriptorPath(found.fd.number), mode);
}

function makeWhereItLeads(
  link: Step,
  directory: Step,
  rules: OpenRules,
  linksLeft: number,
): OwnedFd {
  if (linksLeft === 0) throw new SyscallError("open", link.path, errnos.ELOOP);
  const target = readlinkSync(Buffer.from(link.path, "latin1"), "latin1");
  const whole = target.startsWith("/") ? target : `${directory.path}/${target}`;
  return openOwn(whole, "append", rules, linksLeft - 1);
}

function checkLinks(walk: PathWalk): void {
  for (const { link, target } of walk.links) {
    if (isTrusted(link) || link.facts.uid === target.facts.uid) continue;
    throw foreign(`the link '${link.path}'`, link);
  }
}

/** The file itself: not by a link of others, nor by a second name that others may have given it. */
function checkFile(file: Step, isByLink: boolean, directory: Step): void {
  if (isTrusted(directory) || isByLink) return;
  if (file.facts.nlink > 1 && file.facts.uid !== directory.facts.uid) {
    throw foreign(`'${file.path}' has a second name; its directory`, directory);
  }
}

function isTrusted({ facts: { uid } }: Step): boolean {
  return uid === 0 || uid === process.geteuid?.();
}

function foreign(what: string, { facts }: Step): ForeignLinkError {
  return new ForeignLinkError(`${what} belongs to user ${facts.uid}, and may lead anywhere`);
}
