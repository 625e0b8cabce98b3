/**
 * The environment that a plan's program finds, and the places where that program may lie. Asks no
 * file: that is for the process that becomes the program, with no more than its rights.
 */
import { ownProgram, type User } from "../native/process.ts";
import { ascii, fromText, type ByteString } from "../wire/bytes.ts";
import { removeForeign } from "./foreign-variables.ts";
import type { LaunchPlan } from "./launch-plan.ts";
import { launchVariable } from "./launch-variable.ts";

/**
 * What no child sees: what would turn our binary into something else, what belongs to the server's
 * own supervisor, and the plan.
 */
const removed = new Set([
  "BUN_BE_BUN",
  "BUN_OPTIONS",
  "NOTIFY_SOCKET",
  "NODE_CHANNEL_FD",
  "NODE_CHANNEL_SERIALIZATION_MODE",
]);
const removedPrefixes = ["LISTEN_", launchVariable];

/** Where execvp(3) looks when there is no PATH. */
export const defaultPath = ascii("/bin:/usr/bin");

/**
 * The program's whole environment; of several variables with one name the last one counts.
 * @param inherited `name=value`, of the process that starts it.
 */
export function environmentOf(plan: LaunchPlan, inherited: readonly ByteString[]): ByteString[] {
  const variables = new Map<string, string>();
  const set = (name: string, entry: ByteString) =>
    variables.set(name, entry.slice(name.length + 1));
  for (const entry of inherited) {
    const name = nameOf(entry);
    if (name !== "" && !isRemoved(name)) set(name, entry);
  }
  if (plan.isInstance) removeForeign(variables, plan.directory?.path ?? "");
  const added = [...identityVariables(plan.user), ...plan.variables];
  for (const entry of added) set(nameOf(entry), entry);
  return Array.from(variables, ([name, value]) => ascii(`${name}=${value}`));
}

/** Ours, without what no child sees. */
export function ownEnvironment(): Record<string, string> {
  const entries = Object.entries(process.env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && !isRemoved(entry[0]),
  );
  return Object.fromEntries(entries);
}

/** Where the program is to be looked for; `path`: by this PATH. */
export function placesOf(
  { argv: [program = ascii("")], isOwnProgram = false }: LaunchPlan,
  environment: readonly ByteString[],
): { readonly places: readonly string[]; readonly path?: string } {
  if (isOwnProgram) return { places: [ownProgram] };
  if (program.includes("/")) return { places: [program] };
  const variable = environment.find((entry) => entry.startsWith("PATH="));
  const path = variable?.slice("PATH=".length) ?? defaultPath;
  const inDirectory = (directory: string) =>
    directory === "" ? program : `${directory}/${program}`;
  return { places: path.split(":").map(inDirectory), path };
}

function isRemoved(name: string): boolean {
  return removed.has(name) || removedPrefixes.some((prefix) => name.startsWith(prefix));
}

function nameOf(entry: string): string {
  return entry.slice(0, Math.max(0, entry.indexOf("=")));
}

/** What login(1) would set for the user. */
function identityVariables(user: User | undefined): ByteString[] {
  if (user === undefined) return [];
  const { home, name, shell } = user;
  return [`HOME=${home}`, `USER=${name}`, `LOGNAME=${name}`, `SHELL=${shell}`].map(fromText);
}
