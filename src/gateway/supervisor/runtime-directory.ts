/**
 * Where gateways of one user have their status sockets: a directory that nobody else can enter.
 * Whoever asks may have another environment than the gateway (a login shell, a service), so there
 * may be more than one place to look.
 */
import { lstatSync, mkdirSync } from "node:fs";
import { join } from "node:path";

/** Says where, in place of what follows from the user. */
export const runtimeVariable = "APPLICATION_POOL_RUNTIME_DIRECTORY";

/**
 * The directories' paths: a gateway uses the first. Below /run for root; else below the session's
 * own directory (of another user's, the usual one is all that can be known), or /tmp.
 */
export function runtimeDirectories(
  environment: Readonly<Record<string, string | undefined>>,
  uid = process.getuid?.() ?? 0,
): [string, ...string[]] {
  const isOwn = uid === process.getuid?.();
  const session = isOwn ? (environment["XDG_RUNTIME_DIR"] ?? "") : `/run/user/${uid}`;
  const name = `application-pool-${uid}`;
  const given = environment[runtimeVariable] ?? "";
  if (given !== "") return [join(given, name)];
  if (uid === 0) return [join("/run", name)];
  const common = join("/tmp", name);
  return session === "" ? [common] : [join(session, name), common];
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
