/**
 * restart.txt is looked for without waiting, and deleted only where that is ours to do. Only root
 * can try the latter.
 */
import { expect, test } from "bun:test";
import { existsSync, lchownSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { findUser } from "../../src/native/process.ts";
import { RestartFiles } from "../../src/server/restart-file.ts";
import { FilesAside } from "../../src/spawn/files-aside.ts";
import { launcherCommand } from "../../src/spawn/launch-plan.ts";
import { deleteRestartFile, type Deletion } from "../../src/spawn/restart-deletion.ts";
import { fromText } from "../../src/wire/bytes.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { rejection } from "../parent/rejection.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

function scene() {
  const users = ["daemon", "bin"].map((name) => findUser(name)?.uid ?? 0);
  const [alice = 0, bob = 0] = users;
  if (process.getuid?.() !== 0 || alice === 0 || bob === 0) throw new Error("this test needs root");
  const base = temporaryDirectory();
  const root = join(base, "app");
  const theirs = join(base, "bobs");
  for (const [path, owner] of [
    [root, alice],
    [theirs, bob],
  ] as const) {
    mkdirSync(path);
    lchownSync(path, owner, owner);
  }
  writeFileSync(join(theirs, "restart.txt"), "");
  lchownSync(join(theirs, "restart.txt"), bob, bob);
  return { alice, bob, root: fromText(root), theirs, tmp: join(root, "tmp") };
}

function deletionIn(root: ReturnType<typeof fromText>): Deletion["kind"] | undefined {
  let kind: Deletion["kind"] | undefined;
  deleteRestartFile(root, (deletion) => {
    kind = deletion.kind;
  });
  return kind;
}

/** Whatever is mounted on this machine. */
async function asked(files: RestartFiles, root: ReturnType<typeof fromText>): Promise<boolean> {
  const answer = files.askedFor(root);
  return answer === "unknown" ? files.find(root) : answer;
}

test("one behind somebody's link to another's directory is not deleted, and restarts once", async () => {
  const { alice, root, theirs, tmp } = scene();
  symlinkSync(theirs, tmp);
  lchownSync(tmp, alice, alice);
  const aside = new FilesAside();
  const files = new RestartFiles(aside);
  expect(await asked(files, root)).toBe(true);
  expect(await asked(files, root)).toBe(false);
  utimesSync(join(theirs, "restart.txt"), 1, 1);
  expect(await asked(files, root)).toBe(true);
  expect(await asked(files, root)).toBe(false);
  expect(existsSync(join(theirs, "restart.txt"))).toBe(true);
  aside.close();
});

test("one behind a process's link, which may lead to a mount that hangs, is not looked for", () => {
  const { root, theirs, tmp } = scene();
  symlinkSync(`/proc/${process.pid}/root${theirs}`, tmp);
  using aside = new DisposableStack();
  const helpers = aside.adopt(new FilesAside(), (files) => files.close());
  expect(new RestartFiles(helpers).askedFor(root)).not.toBe(true);
});

test("one behind a link of the owner of what it leads to, or of root's, is deleted", () => {
  for (const owner of ["bob", "root"] as const) {
    const { bob, root, theirs, tmp } = scene();
    symlinkSync(theirs, tmp);
    lchownSync(tmp, owner === "bob" ? bob : 0, 0);
    expect(deletionIn(root)).toBe("deleted");
    expect(existsSync(join(theirs, "restart.txt"))).toBe(false);
    expect(deletionIn(root)).toBe("absent");
  }
});

test("a helper says what a look here says", async () => {
  const { alice, root, theirs, tmp } = scene();
  const aside = new FilesAside();
  expect(await aside.deleteRestartFile(root, 10_000)).toEqual({ kind: "absent" });
  mkdirSync(tmp);
  writeFileSync(join(tmp, "restart.txt"), "");
  expect(await aside.deleteRestartFile(root, 10_000)).toEqual({ kind: "deleted" });
  const other = scene();
  symlinkSync(theirs, other.tmp);
  lchownSync(other.tmp, alice, alice);
  utimesSync(join(theirs, "restart.txt"), 12, 12);
  const kept = await aside.deleteRestartFile(other.root, 10_000);
  expect(kept).toEqual({ kind: "kept", changedNs: "12000000000" });
  aside.close();
});

test("who waits for a helper in vain keeps nobody from one that is free later", async () => {
  const { root } = scene();
  const directory = temporaryDirectory();
  // As if the files of sixteen applications hung: their helpers say nothing.
  // Each takes a number by the shell alone: a busy machine is slow to start programs.
  const numbers = Array.from({ length: 16 }, (_, index) => index).join(" ");
  const script = `set -C
for i in ${numbers}; do true 2> /dev/null > ${directory}/$i && exec sleep 60; done
exec ${launcherCommand().join(" ")}`;
  const aside = new FilesAside(["sh", "-c", script]);
  const ask = (name: string, limitMs: number) =>
    aside.deleteRestartFile(fromText(`/${name}`), limitMs);
  const hanging = Promise.allSettled(
    Array.from({ length: 15 }, (_, index) => ask(`hanging${index}`, 60_000)),
  );
  const last = rejection(ask("last", 2_000));
  expect(await rejection(ask("impatient", 100))).toEqual(
    new Error("files of too many applications do not answer"),
  );
  expect(await aside.deleteRestartFile(root, 8_000)).toEqual({ kind: "absent" });
  expect(await last).toEqual(new Error("its files did not answer within 2 s"));
  aside.close();
  await hanging;
});
