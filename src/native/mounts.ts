/**
 * Whether a look at a file may wait for somebody else: for a server on the network, or for a
 * process, as with NFS and FUSE. The table of mounts says so without asking any of them (proc(5)
 * mountinfo).
 */
import { kernelText } from "./process-stat.ts";

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

interface Mount {
  readonly id: number;
  /** `major:minor`. */
  readonly device: string;
  /** What of its file system is there. */
  readonly root: string;
  readonly path: string;
  readonly type: string;
  readonly options: string;
}

/** All mounts that this process sees, read anew; none where they cannot be known. */
export function readMounts(): Mount[] {
  const lines = kernelText("/proc/self/mountinfo").split("\n").filter(Boolean);
  // `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`.
  return lines.map((line) => {
    const [place = "", source = ""] = line.split(" - ");
    const [id, , device = "", root = "", path = ""] = place.split(" ");
    // Type and source before the options are as whoever mounted it has named them.
    const [type = "", , options = ""] = source.split(" ");
    return { id: Number(id), device, root, path, type, options };
  });
}

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
  mounts = summary(readMounts());
  const tookMs = performance.now() - beganMs;
  isFresh = true;
  const forget = () => (isFresh = false);
  setTimeout(forget, Math.max(holdsMs, restToWork * tookMs)).unref();
  return mounts;
}

function summary(all: readonly Mount[]): Mounts {
  const local = new Set<string>();
  const kinds = new Map<number, MountKind>();
  let mayHang = all.length === 0;
  for (const { id, device, path, type, options } of all) {
    const isLocal = localTypes.has(type);
    const isKernels = kernelsOwn.test(path);
    const isUsers = /\buser_id=[1-9]/.test(options);
    if (isLocal) local.add(device);
    if (!isLocal && !isKernels) mayHang = true;
    kinds.set(id, isLocal || isKernels ? "local" : isUsers ? "user's" : "remote");
  }
  return { mayHang, local, kinds };
}
