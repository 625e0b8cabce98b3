/**
 * The rights that another user has to files, for a moment: his own, those of his groups, and none
 * besides. A directory's group is not asked: `chown shop directory` leaves it root's.
 */
import {
  address,
  allocate,
  arenaView,
  checked,
  cPath,
  libc,
  loadFunctions,
  reserve,
} from "./libc.ts";
import { C } from "./layout.ts";
import { findUserById, type User } from "./process.ts";

/** NGROUPS_MAX (limits.h): the kernel takes no more. */
const maxGroups = 65_536;
/** Of a user that the system does not know: a group that nobody is in. */
const noGroup = 65_534;
/** An unsigned 32-bit number for each. */
export const groupIdBytes = 4;

const countOffset = reserve(groupIdBytes);

function load() {
  const functions = loadFunctions({
    getgrouplist: { args: ["ptr", "u32", "ptr", "ptr"], returns: "i32" },
    setfsgid: { args: ["u32"], returns: "i32" },
    setfsuid: { args: ["u32"], returns: "i32" },
  });
  const bytes = maxGroups * groupIdBytes;
  return { ...functions, ours: allocate(bytes), theirs: allocate(bytes) };
}

/** Few processes ever need them. */
let loaded: ReturnType<typeof load> | undefined;

/**
 * Calls `access` with the rights that a user has to files, if this process is root; other processes
 * keep their own (setfsuid(2)). Only this thread is meant: `access` must not wait for anything.
 * @throws SyscallError when root's groups cannot be laid down; then nothing has been called.
 */
export function withFileRightsOf<T>(uid: number, access: () => T): T {
  if (process.geteuid?.() !== 0 || uid === 0) return access();
  loaded ??= load();
  const { setfsgid, setfsuid, ours, theirs } = loaded;
  const owner = findUserById(uid);
  const result = libc.syscall(C.SYS_GETGROUPS, maxGroups, Number(ours.address), 0, 0, 0);
  const ourCount = checked(result, "getgroups");
  const groups = owner && groupsOf(owner);
  const count = (groups?.length ?? 0) / groupIdBytes;
  // Of this thread alone: the C library's function would change all.
  setGroups(count, theirs.address);
  // The group first and last: it takes root's rights to change it.
  const group = setfsgid(owner?.gid ?? noGroup);
  const user = setfsuid(uid);
  try {
    return access();
  } finally {
    setfsuid(user);
    setfsgid(group);
    setGroups(ourCount, ours.address);
  }
}

/** A user's groups, until the next call: numbers of 32 bits. Undefined: they cannot be had. */
export function groupsOf(user: User): Uint8Array | undefined {
  loaded ??= load();
  const { getgrouplist, theirs } = loaded;
  arenaView.setInt32(countOffset, maxGroups, true);
  const all = getgrouplist(cPath(user.name), user.gid, theirs.address, address(countOffset));
  return all < 0 ? undefined : theirs.bytes.subarray(0, all * groupIdBytes);
}

function setGroups(count: number, groups: number | bigint): void {
  const result = libc.syscall(C.SYS_SETGROUPS, count, Number(groups), 0, 0, 0);
  checked(result, "setgroups", `${count} groups`);
}
