/**
 * Which version of the server this tree is. What is built says its commit, so that two builds of
 * one version can be told apart; the commit's time stands for "now" in whatever is packed.
 */
import { resolve } from "node:path";
import manifest from "../package.json";

export interface Version {
  /** As in package.json: `0.2.0`. */
  readonly number: string;
  /** `0.2.0 (abcdef1)`; a tree with changes, or without its history, says so. */
  readonly text: string;
  /** When the commit was made, in seconds; of a tree without history SOURCE_DATE_EPOCH, or 0. */
  readonly epochSeconds: number;
}

const root = resolve(import.meta.dir, "..");

/** What git says of this tree; undefined: there is none. */
function git(...words: string[]): string | undefined {
  if (Bun.which("git") === null) return undefined;
  const { success, stdout } = Bun.spawnSync(["git", "-C", root, ...words], { stderr: "ignore" });
  return success ? stdout.toString().trim() : undefined;
}

/** The version of the files as they are now. */
export function readVersion(): Version {
  const { version } = manifest;
  const isOwn = git("rev-parse", "--show-cdup") === "";
  const commit = isOwn ? git("rev-parse", "--short=7", "HEAD") : undefined;
  if (commit === undefined) {
    const epochSeconds = Number(process.env["SOURCE_DATE_EPOCH"] ?? 0);
    return { number: version, text: `${version} (built without git)`, epochSeconds };
  }
  const isChanged = git("status", "--porcelain", "--untracked-files=no") !== "";
  return {
    number: version,
    text: `${version} (${commit}${isChanged ? ", changed" : ""})`,
    epochSeconds: Number(git("show", "--no-patch", "--format=%ct", "HEAD")),
  };
}
