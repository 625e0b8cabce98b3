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

/** `local`: waits for nobody. `user's`: FUSE of somebody who is not root. `remote`: the others. */
export type MountKind = "local" | "remote" | "user's";

interface Mounts {
  readonly mayHang: boolean;
  /** By their numbers. */
  readonly kinds: ReadonlyMap<number, MountKind>;
  /** Devices of local file systems, `major:minor`. */
  readonly local: ReadonlySet<string>;
}

let mounts: Mounts = { mayHang: true, local: new Set(), kinds: new Map() };
let isFresh = false;

/** True where it cannot be known. */
export function mayFilesHang(): boolean {
  return current().mayHang;
}

/** Whether files of a device (look.ts) are on this machine. */
export function isLocalDevice(device: string): boolean {
  return current().local.has(device);
}

/** What a mount is, by its number (statx(2) STATX_MNT_ID); undefined: it is there no more. */
export function kindOfMount(id: number): MountKind | undefined {
  if (!current().kinds.has(id)) isFresh = false; // It may be new.
  return current().kinds.get(id);
}

/** Reads no clock: it is asked with every get. */
function current(): Mounts {
  if (isFresh) return mounts;
  const beganMs = performance.now();
  mounts = readMounts();
  const tookMs = performance.now() - beganMs;
  isFresh = true;
  const forget = () => (isFresh = false);
  setTimeout(forget, Math.max(holdsMs, restToWork * tookMs)).unref();
  return mounts;
}

function readMounts(): Mounts {
  const local = new Set<string>();
  const kinds = new Map<number, MountKind>();
  let mayHang = false;
  try {
    // `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`.
    for (const line of readFileSync("/proc/self/mountinfo", "latin1").split("\n")) {
      if (line === "") continue;
      const [place = "", source = ""] = line.split(" - ");
      const [id, , device = "", , path = ""] = place.split(" ");
      const isLocal = localTypes.has(source.split(" ")[0] ?? "");
      const isKernels = kernelsOwn.test(path);
      if (isLocal) local.add(device);
      if (!isLocal && !isKernels) mayHang = true;
      const isUsers = /\buser_id=[1-9]/.test(source.split(" ")[2] ?? "");
      kinds.set(Number(id), isLocal || isKernels ? "local" : isUsers ? "user's" : "remote");
    }
  } catch {
    mayHang = true;
  }
  return { mayHang, local, kinds };
}
