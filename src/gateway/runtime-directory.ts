/**
 * Where gateways of one user have their status sockets: a directory that nobody else can enter.
 * systemd's RUNTIME_DIRECTORY, else the user's XDG_RUNTIME_DIR, else /run for root, else /tmp.
 */
import { lstatSync, mkdirSync } from "node:fs";
import { join } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

/** The directory's path. Whether it is there, and is safe, is another question. */
export function runtimeDirectory(environment: Environment): string {
  const uid = process.getuid?.() ?? 0;
  const base = environment["XDG_RUNTIME_DIR"] ?? (uid === 0 ? "/run" : "/tmp");
  // Several directories are separated by colons (systemd.exec(5)).
  const [given] = (environment["RUNTIME_DIRECTORY"] ?? "").split(":");
  return join(given === undefined || given === "" ? base : given, `application-pool-${uid}`);
}

/** Makes the directory if need be. @throws Error when it cannot be had, or is not safe. */
export function makeRuntimeDirectory(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const why = whyNotSafe(path);
  if (why !== undefined) throw new Error(`use directory '${path}': ${why}`);
}

/** Others could put sockets of their own where they can write: then it is not used. */
export function whyNotSafe(path: string): string | undefined {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return "it does not exist";
  if (!found.isDirectory()) return "it is no directory";
  if (found.uid !== process.getuid?.()) return "it belongs to another user";
  return (found.mode & 0o077) === 0 ? undefined : "others can enter it";
}
