/** A FUSE file system that shows a directory of the test's, and hangs when it is told to. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "./condition.ts";

export interface HangingFiles extends AsyncDisposable {
  /** What is shown; not by way of the file system, so never hanging. */
  readonly source: string;
  /** Where it is shown. */
  readonly mounted: string;
  hang(): void;
  goOn(): void;
}

/**
 * Mounts one in `directory`, which must be empty. Only root can. @param lie the user ids of who has
 * mounted it, and of whom all files say that they are.
 */
export async function mountHangingFiles(
  directory: string,
  lie?: { readonly mounter: number; readonly owner: number },
): Promise<HangingFiles> {
  const [source, mounted, control] = ["source", "mounted", "control"].map((name) =>
    join(directory, name),
  ) as [string, string, string];
  for (const path of [source, mounted]) mkdirSync(path);
  const program = compile(directory);
  const liar = lie === undefined ? [] : [String(lie.mounter), String(lie.owner)];
  const child = Bun.spawn([program, source, control, mounted, ...liar], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  await until("it is mounted", () => readFileSync("/proc/mounts", "utf8").includes(mounted));
  return {
    source,
    mounted,
    hang: () => writeFileSync(control, ""),
    goOn: () => rmSync(control, { force: true }),
    async [Symbol.asyncDispose]() {
      rmSync(control, { force: true });
      Bun.spawnSync(["umount", "--lazy", mounted]);
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

function compile(directory: string): string {
  const program = join(directory, "hanging-files");
  const flags = Bun.spawnSync(["pkg-config", "--cflags", "--libs", "fuse3"]).stdout.toString();
  const source = join(import.meta.dir, "hanging-files.c");
  const command = ["cc", "-Wall", "-o", program, source, ...flags.trim().split(/\s+/)];
  const compiled = Bun.spawnSync(command);
  if (!compiled.success) throw new Error(`cc: ${compiled.stderr.toString()}`);
  return program;
}
