/**
 * Whom an instance runs as (PROTOCOL section 10, lowerPrivilege). A server that is not root cannot
 * choose; one that is never runs an application as root because something else was impossible:
 * it refuses.
 */
import { findUser, findUserById, type User } from "../../native/process.ts";
import type { AppRequest } from "../../wire/app-request.ts";
import { fromText, toText, type ByteString } from "../../wire/bytes.ts";
import type { InstanceOptions } from "../../wire/configure.ts";

/** What the decision depends on, so that it can be tested without being root. */
export interface UserDatabase {
  readonly isRoot: boolean;
  byName(name: string): User | undefined;
  byId(uid: number): User | undefined;
}

const systemUsers: UserDatabase = {
  get isRoot() {
    return process.geteuid?.() === 0;
  },
  byName: findUser,
  byId: findUserById,
};

/** The part of a request that the decision depends on. */
type UserChoice = Pick<AppRequest & InstanceOptions, "lowerPrivilege" | "lowestUser" | "user">;

/**
 * @param owner user id of the startup file's owner.
 * @returns the user to become; undefined: nobody else. @throws Error.
 */
export function chooseUser(
  request: UserChoice,
  owner: number,
  users: UserDatabase = systemUsers,
): User | undefined {
  if (!request.lowerPrivilege || !users.isRoot) return undefined;
  const { user, lowestUser } = request;
  if (user !== undefined) return notRoot(fromText(user), `the configured user '${user}'`, users);
  const ownerUser = owner === 0 ? undefined : users.byId(owner);
  if (ownerUser !== undefined) return ownerUser;
  const why = owner === 0 ? "belongs to root" : `belongs to user ${owner}, who is unknown`;
  const whose = `the startup file ${why}, and the user to run as instead, '${toText(lowestUser)}',`;
  return notRoot(lowestUser, whose, users);
}

/** @param whose name it is, for people. @throws Error: he is none, or root. */
function notRoot(name: ByteString, whose: string, users: UserDatabase): User {
  const user = name === "" ? undefined : users.byName(name);
  if (user !== undefined && user.uid !== 0) return user;
  const why = user === undefined ? "does not exist" : "is root";
  throw new Error(`${whose} ${why}`);
}
