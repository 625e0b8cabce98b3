/**
 * What an application must not inherit: variables that the server has only because it was started
 * in somebody's bundle of gems (`bundle exec`) or virtual environment of Python. They would make it
 * run with somebody else's libraries. What lies below the application's own root is its own.
 *
 * What people set for all that they start stays: GEM_HOME and GEM_PATH, PYTHONPATH, NODE_PATH,
 * NODE_OPTIONS, a PATH of their own.
 */

import { realpathSync } from "node:fs";

/** What `bundle exec` keeps of a variable that it changes, and how it says that there was none. */
const originalPrefix = "BUNDLER_ORIG_";
const wasUnset = "BUNDLER_ENVIRONMENT_PRESERVER_INTENTIONALLY_NIL";

/** Of Bundler's: which bundle, and that it is set up. Its settings (BUNDLE_PATH) are the user's. */
const ofBundle = ["BUNDLE_BIN_PATH", "BUNDLER_SETUP", "BUNDLER_VERSION"];
const paths = ["BUNDLE_GEMFILE", "BUNDLE_LOCKFILE"];

/** Whether to take them out takes a look at the root, which may be where files hang. */
export function looksAtRoot(variables: Readonly<Record<string, string>>): boolean {
  return [...paths, "VIRTUAL_ENV"].some((name) => variables[name] !== undefined);
}

/** Takes them out. @param variables byte strings by name. @param root of the application. */
export function removeForeign(variables: Map<string, string>, root: string): void {
  restoreOriginals(variables);
  for (const name of ofBundle) variables.delete(name);
  for (const name of paths) {
    if (!isOwn(variables.get(name), root)) variables.delete(name);
  }
  leaveWords(variables, "RUBYOPT", " ", (word) => !/^-r(?:.*\/)?bundler\/setup$/.test(word));
  // It is for one Python only, and no virtual environment has it.
  variables.delete("PYTHONHOME");
  const virtualenv = variables.get("VIRTUAL_ENV");
  if (virtualenv === undefined || isOwn(virtualenv, root)) return;
  variables.delete("VIRTUAL_ENV");
  variables.delete("VIRTUAL_ENV_PROMPT");
  leaveWords(variables, "PATH", ":", (entry) => entry !== `${virtualenv}/bin`);
}

function restoreOriginals(variables: Map<string, string>): void {
  for (const [name, value] of variables) {
    if (!name.startsWith(originalPrefix)) continue;
    variables.delete(name);
    const original = name.slice(originalPrefix.length);
    if (value === wasUnset) variables.delete(original);
    else variables.set(original, value);
  }
}

function isOwn(path: string | undefined, root: string): boolean {
  if (path === undefined) return false;
  return path.startsWith(`${root}/`) || path.startsWith(`${withoutLinks(root)}/`);
}

function withoutLinks(root: string): string {
  try {
    return realpathSync(Buffer.from(root, "latin1"), "latin1");
  } catch {
    return root; // The launch will say what is wrong with it.
  }
}

function leaveWords(
  variables: Map<string, string>,
  name: string,
  separator: string,
  stays: (word: string) => boolean,
): void {
  const value = variables.get(name);
  if (value === undefined) return;
  const left = value.split(separator).filter((word) => stays(word));
  if (left.length === 0) variables.delete(name);
  else variables.set(name, left.join(separator));
}
