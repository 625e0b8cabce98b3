/**
 * What the hidden launch command is told, and how it is started. The plan travels as JSON in
 * environment variables of a process that is ours alone until it ends in execve: argv would show it
 * to every user of the machine. Byte strings survive because everything beyond ASCII is escaped.
 */
import { readFileSync } from "node:fs";

import { mayFilesHang } from "../native/mounts.ts";
import { ownProgram } from "../native/process.ts";
import type { DirectStart } from "../native/start-program.ts";
import { ascii, fromText, toBytes, toText, type ByteString } from "../wire/bytes.ts";
import { encodeErrorPage } from "../wire/instance-protocol.ts";
import { looksAtRoot } from "./foreign-variables.ts";
import { environmentOf, ownEnvironment, placesOf } from "./launch-environment.ts";
import { launchVariable } from "./launch-variable.ts";

/**
 * What one variable holds of a plan: Linux refuses a single string of 128 KiB or more (execve(2),
 * MAX_ARG_STRLEN), name and NUL included.
 */
const pieceBytes = 128 * 1024 - 64;
/** All strings may take a quarter of the stack, 2 MiB as a rule; the rest is for the inherited. */
const maxPlanBytes = 1792 * 1024;

/** What a process needs done before its program runs. */
export interface LaunchPlan extends Pick<
  DirectStart,
  "group" | "isBatch" | "limits" | "umask" | "user"
> {
  /** The program is argv[0], looked up on PATH if it has no slash; unless it is our own. */
  readonly argv: readonly ByteString[];
  /** The program is the one that the launch command runs, whatever argv[0] says. */
  readonly isOwnProgram?: boolean;
  /** Working directory, absent: the server's. One of another identity is refused. */
  readonly directory?: { readonly path: ByteString; readonly identity?: string };
  /** Where to go on from there, as whom it becomes. */
  readonly cwd?: ByteString;
  /** `name=value` strings that are added to, or replace, what is inherited. */
  readonly variables: readonly ByteString[];
  /** `name=value` strings that belong to what is inherited and are not UTF-8; filled in here. */
  readonly inherited?: readonly ByteString[];
  /** An instance: a session of its own, no new privileges, failures told on its lifeline. */
  readonly isInstance: boolean;
  /**
   * An instance that knows nothing of us (builtin/program/): it keeps no lifeline, and descriptor 3
   * only where that is a listener for it. It gets SIGTERM when the server dies.
   */
  readonly program?: "alone" | "with a listener";
}

/** Descriptor of an instance's listening socket. */
export const listenerDescriptor = 3;
/** Descriptor on which an instance's launch failure is told. */
export const lifelineDescriptor = 4;

/** The plan as text; equal plans are equal texts. */
export function encodePlan(plan: LaunchPlan): string {
  const text = asciiJson(plan);
  if (text.length > maxPlanBytes) {
    throw new Error(
      `the command and its variables take ${text.length} bytes, ${maxPlanBytes} at most`,
    );
  }
  return text;
}

/** JSON of ASCII alone, in one line: byte strings and texts arrive as they are. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** How to start our own binary; from a checkout, Bun with a script that only launches. */
export function launcherCommand(): readonly string[] {
  const isCompiled = import.meta.path.startsWith("/$bunfs/");
  if (isCompiled) return [ownProgram];
  const script = `${import.meta.dir}/launch-main.ts`;
  return [process.execPath, "--config=/dev/null", "--no-env-file", script];
}

let cachedRawVariables: ByteString[] | undefined;

/** Variables this process was started with that are not UTF-8: `name=value`. */
function rawVariables(): ByteString[] {
  // The initial block never changes (proc(5) environ), and reading it is not free.
  cachedRawVariables ??= readFileSync("/proc/self/environ", "latin1")
    .split("\0")
    .filter((entry) => toText(ascii(entry)).includes("\ufffd"))
    .map(ascii);
  return cachedRawVariables;
}

/** How a plan's program is started. */
export interface LaunchCommand {
  /** The launch command, as Bun.spawn takes it. */
  readonly argv: string[];
  readonly env: Record<string, string>;
  /** The program itself, which becomes the launch command where it cannot be had so. */
  readonly direct?: DirectStart;
}

/** How to start `plan`. @throws Error: it is too long for an environment. */
export function launchCommand(plan: LaunchPlan): LaunchCommand {
  const launcher = launcherCommand();
  // Bun.spawn passes on text only, and a variable need not be UTF-8: the plan has the others.
  const [text, bytes] = [ownEnvironment(), rawVariables()];
  const whole = encodePlan({ ...plan, inherited: bytes });
  const env = { ...text, ...planVariables(whole) };
  const command = { argv: [...launcher], env };
  // Spawn servers, and programs that know nothing of us, need what the launch command alone does.
  if (!plan.isInstance || plan.program !== undefined) return command;
  if (looksAtRoot(text) && mayFilesHang()) return command;
  const environment = environmentOf(plan, [...asEntries(text), ...bytes]);
  const direct = {
    ...plan,
    environment,
    places: placesOf(plan, environment).places,
    launcher: { argv: launcher, environment: asEntries(env) },
    failure: failureOf(plan),
  };
  return { ...command, direct };
}

/** What is said of a plan when not even the launch command can be had; the errno comes last. */
function failureOf({ argv: [program = ascii("")], user }: LaunchPlan): Uint8Array {
  const whom = user === undefined ? "" : ` as ${user.name}`;
  const text = `launching '${toText(program)}'${whom}: execve: ${"?".padEnd(16)}`;
  return encodeErrorPage(toBytes(fromText(text)));
}

/** As `name=value`. */
export function asEntries(variables: Readonly<Record<string, string>> = {}): ByteString[] {
  return Object.entries(variables).map(([name, value]) => fromText(`${name}=${value}`));
}

/** A plan's text in as many variables as it needs. */
function planVariables(text: string): Record<string, string> {
  const variables: Record<string, string> = {};
  for (let piece = 0; piece * pieceBytes < text.length; piece += 1) {
    variables[pieceName(piece)] = text.slice(piece * pieceBytes, (piece + 1) * pieceBytes);
  }
  return variables;
}

/** The text that is in an environment's variables; undefined: there is no plan. */
export function planIn(
  environment: Readonly<Record<string, string | undefined>>,
): string | undefined {
  let text = environment[launchVariable];
  for (let piece = 1; text !== undefined; piece += 1) {
    const next = environment[pieceName(piece)];
    if (next === undefined) return text;
    text += next;
  }
  return text;
}

function pieceName(piece: number): string {
  return piece === 0 ? launchVariable : `${launchVariable}_${piece}`;
}
