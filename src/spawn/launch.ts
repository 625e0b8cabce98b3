/**
 * The hidden launch command: a start of our own binary that prepares itself as its plan says and
 * then becomes another program (execve(2)). It does what Bun.spawn cannot: users with their
 * groups, byte paths, original limits, sessions. Nothing of the application has been read
 * before that, and nothing of ours is left in its environment.
 *
 * Failure is one sentence on stderr and, for instances, on the lifeline; then exit 127 (no such
 * program) or 126, as shells do.
 */
import { readFileSync, writeSync } from "node:fs";

import { joinGroup } from "../native/control-groups.ts";
import { SyscallError } from "../native/errno.ts";
import { identityOf, open, setCloseOnExec } from "../native/fd.ts";
import { descriptorPath } from "../native/pinned-socket.ts";
import {
  becomeUser,
  changeDirectory,
  dieWithParent,
  execute,
  forbidNewPrivileges,
  ownSession,
  resetSignals,
  scheduleAsBatch,
  signals,
  type User,
} from "../native/process.ts";
import { send } from "../native/socket.ts";
import { ascii, fromText, toBytes, toText, type ByteString } from "../wire/bytes.ts";
import { causeText } from "../wire/cause.ts";
import { encodeErrorPage } from "../wire/instance-protocol.ts";
import { environmentOf, placesOf } from "./launch-environment.ts";
import { lifelineDescriptor, listenerDescriptor, planIn, type LaunchPlan } from "./launch-plan.ts";
import { filesAside, launchVariable } from "./launch-variable.ts";

/** Returns when this start is not a launch; otherwise the process becomes another or exits. */
export async function launchFromEnvironment(): Promise<void> {
  const text = planIn(process.env);
  if (text === undefined) return;
  if (text === filesAside) {
    const { answerQuestions } = await import("./files-aside-main.ts");
    answerQuestions();
  }
  let plan: LaunchPlan;
  try {
    plan = JSON.parse(text) as LaunchPlan;
  } catch {
    writeSync(2, `launch: ${launchVariable} holds no plan; only the server itself sets it\n`);
    process.exit(126);
  }
  try {
    become(plan);
  } catch (error) {
    fail(plan, error);
  }
}

function become(plan: LaunchPlan): never {
  // The block itself, not process.env: that one is text, and may have been added to.
  const inherited = readFileSync("/proc/self/environ", "latin1").split("\0").map(ascii);
  const listenPid = plan.program === "with a listener" ? [ascii(`LISTEN_PID=${process.pid}`)] : [];
  const environment = [
    ...environmentOf(plan, [...inherited, ...(plan.inherited ?? [])]),
    ...listenPid,
  ];
  if (plan.group !== undefined) joinGroup(plan.group);
  if (plan.isInstance) {
    ownSession();
    // Bun closes at the next exec what it finds open beyond descriptor 3 at its start; so does
    // the lifeline of a program end, which says that it has begun.
    setCloseOnExec(lifelineDescriptor, plan.program !== undefined);
    if (plan.program === "alone") setCloseOnExec(listenerDescriptor, true);
  }
  if (plan.user !== undefined) becomeUser(plan.user);
  if (plan.isInstance) forbidNewPrivileges();
  if (plan.isBatch === true) scheduleAsBatch();
  // After the change of user, which undoes it.
  if (plan.program !== undefined) dieWithParent(signals.SIGTERM);
  if (plan.directory !== undefined) enter(plan.directory, plan.user);
  if (plan.cwd !== undefined) enter({ path: plan.cwd }, plan.user);
  if (plan.umask !== undefined) process.umask(plan.umask);
  // Last: the runtime we still are may rely on handlers of its own.
  resetSignals();
  return executeProgram(plan, environment);
}

function enter(
  { path, identity }: NonNullable<LaunchPlan["directory"]>,
  user: User | undefined,
): void {
  try {
    using directory = open(path, "directory");
    if (identity !== undefined && identity !== identityOf(directory.number)) {
      throw new Error("it is not the directory that it was a moment ago");
    }
    changeDirectory(descriptorPath(directory.number));
  } catch (cause) {
    // Who it is says why: a directory below /root, for example, is closed to everybody else.
    const whom = user === undefined ? "" : ` as ${user.name}`;
    throw new Error(`cannot enter '${toText(path)}'${whom}`, { cause });
  }
}

/** As execvp(3): a name without a slash is tried in every directory of PATH. */
function executeProgram(plan: LaunchPlan, environment: readonly ByteString[]): never {
  const [program = ascii("")] = plan.argv;
  if (program === "") throw new Error("cannot run a program without a name");
  const { places, path } = placesOf(plan, environment);
  let cause: unknown;
  for (const place of places) {
    try {
      executeFile(place, plan, environment);
    } catch (error) {
      if (path === undefined || !isWrongPlace(error)) throw error;
      // A file that may not be executed says more than the places where there is none.
      if (cause === undefined || (error as SyscallError).code === "EACCES") cause = error;
    }
  }
  throw new Error(`cannot find '${toText(program)}' on PATH ${path}`, { cause });
}

function isWrongPlace(error: unknown): boolean {
  return error instanceof SyscallError && ["ENOENT", "ENOTDIR", "EACCES"].includes(error.code);
}

function executeFile(
  file: string,
  { argv, limits }: LaunchPlan,
  environment: readonly ByteString[],
): never {
  try {
    return execute(file, argv, environment, limits);
  } catch (error) {
    if (!(error instanceof SyscallError) || error.code !== "ENOEXEC") throw error;
    // A script without a #! line, as execvp(3) does it.
    return execute("/bin/sh", ["sh", file, ...argv.slice(1)], environment, limits);
  }
}

function fail(plan: LaunchPlan, error: unknown): never {
  const program = toText(plan.argv[0] ?? ascii(""));
  const what = causeText(error);
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const reason = cause instanceof SyscallError ? cause.code : causeText(cause);
  const why = cause === error ? "" : `: ${reason}`;
  const message = `launching '${program}': ${what}${why}`;
  try {
    writeSync(2, `${message}\n`);
    if (plan.isInstance) {
      send(lifelineDescriptor, encodeErrorPage(toBytes(fromText(message))));
    }
  } catch {
    // Nobody is left to tell; the exit status remains.
  }
  process.exit(cause instanceof SyscallError && cause.code === "ENOENT" ? 127 : 126);
}
