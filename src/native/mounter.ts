/**
 * Who answers for the files of a FUSE file system: whoever mounted it. His process says of each
 * file whose it is and what is in it, so none is anybody else's, whatever it says.
 */
import { errnos, SyscallError } from "./errno.ts";
import { C, statfs } from "./layout.ts";
import { address, arenaView, checked, libc, reserve } from "./libc.ts";
import { readMounts } from "./mounts.ts";

const facts = reserve(statfs.size);

/**
 * @param fd an open file, also one of O_PATH. @param device of it, as `st_dev`. @returns the user
 * id; undefined: the file's owner is what the kernel, or root, says.
 * @throws SyscallError: EXDEV when nobody can tell any more who mounted it.
 */
export function mounterOf(fd: number, device: number): number | undefined {
  checked(libc.syscall(C.SYS_FSTATFS, fd, address(facts), 0, 0, 0), "fstatfs", `fd ${fd}`);
  if (arenaView.getUint32(facts + statfs.type, true) !== C.FUSE_SUPER_MAGIC) return undefined;
  const mounter = fuseMounter(device);
  // Unmounted since it was opened: by somebody who does not want to be known.
  if (mounter === undefined) {
    throw new SyscallError("look for the mount of", `fd ${fd}`, errnos.EXDEV);
  }
  return mounter === 0 ? undefined : mounter;
}

/** Of options such as `rw,user_id=1000`. */
function fuseMounter(device: number): number | undefined {
  const [major, minor] = [(device >>> 8) & 0xfff, (device & 0xff) | ((device >>> 12) & 0xfff00)];
  // Read anew: what is told of a mount a moment ago may be another's.
  const mounts = readMounts().filter((mount) => mount.device === `${major}:${minor}`);
  const users = mounts.map(({ options }) => /\buser_id=(\d+)/.exec(options)?.[1]);
  const user = users.find((one) => one !== undefined);
  return user === undefined ? undefined : Number(user);
}
