/**
 * Whether a look at a file may wait for somebody else: for a server on the network, or for a
 * process, as with NFS and FUSE. The table of mounts says so without asking any of them (proc(5)
 * mountinfo).
 */
import { readFileSync } from "node:fs";

/** Types whose files lie on this machine, or in its kernel. All others may hang. */
const localTypes = new Set(
  (
    "bcachefs btrfs ext2 ext3 ext4 erofs exfat f2fs hfsplus iso9660 jfs nilfs2 ntfs3 overlay " +
    "ramfs rootfs squashfs tmpfs udf ufs vfat xfs zfs"
  ).split(" "),
);
/** Below these the kernel has file systems of its own, and an automount that waits for nobody. */
const kernelsOwn = /^\/(proc|sys|dev)(\/|$)/;

/** How long an answer holds: short to a person who mounts something, and reading costs little. */
const holdsMs = 100;
/** Reading takes no larger a part of the time than one in so many, with any number of mounts. */
const restToWork = 50;

let answer = true;
let untilMs = 0;

/** True where it cannot be known. */
export function mayFilesHang(): boolean {
  const beganMs = performance.now();
  if (beganMs < untilMs) return answer;
  try {
    answer = readFileSync("/proc/self/mountinfo", "latin1").split("\n").some(mayHang);
  } catch {
    answer = true;
  }
  const tookMs = performance.now() - beganMs;
  untilMs = beganMs + Math.max(holdsMs, restToWork * tookMs);
  return answer;
}

/** `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`. */
function mayHang(line: string): boolean {
  const [place = "", source = ""] = line.split(" - ");
  if (line === "" || kernelsOwn.test(place.split(" ")[4] ?? "")) return false;
  return !localTypes.has(source.split(" ")[0] ?? "");
}
