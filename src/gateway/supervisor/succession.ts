/**
 * How `serve` goes on as another program: when a new binary lies where this one was started from,
 * the process becomes it (execve(2)). It keeps its number, its sockets and its children; what the
 * new program has to know of them stands in one variable of its environment. The new one starts a
 * pool server and workers of its own, and then has those of the old one leave (predecessors.ts).
 * Until then it can fail: then the process becomes the old program again, which starts those of its
 * own once more and serves what it served before.
 *
 * Two versions meet here: a field may be added, and none may change its meaning.
 */
import { closeSync, openSync, readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";

import { isOpen, setCloseOnExec } from "../../native/fd.ts";
import { fileInMemory } from "../../native/memory-file.ts";
import { execute, ignoreSignal, ownProgram, signals } from "../../native/process.ts";
import { fromBytes, fromText } from "../../wire/bytes.ts";
import { causeText } from "../../wire/cause.ts";
import type { GatewayConfig } from "../config.ts";

/** Withheld from children as all that begins so (cli/child-environment.ts). */
export const successionVariable = "APPLICATION_POOL_SUCCESSION";

/** A file of ours, told from another that comes to have its name. */
export interface SocketFile {
  readonly path: string;
  readonly dev: number;
  readonly ino: number;
}

/** A listener as it goes from one program to the next; descriptors are open there. */
export interface PassedOnListener {
  readonly key: string;
  readonly tls: boolean;
  readonly descriptors: readonly number[];
  /** A Unix socket of ours: its path, and the file that was made there. */
  readonly file: SocketFile | null;
}

/** A worker of the old program, and our end of its control channel. */
export interface PassedOnWorker {
  readonly pid: number;
  readonly control: number;
}

export interface Succession {
  /** How many programs there were before the new one in this process. */
  readonly generation: number;
  readonly listeners: readonly PassedOnListener[];
  /** Sockets of systemd, which the next program finds as this one did. */
  readonly inherited: readonly number[];
  /** Which applications are paused, and how. */
  readonly pauses: Readonly<Record<string, "wait" | "refuse">>;
  readonly workers: readonly PassedOnWorker[];
  readonly poolServer: number | null;
  /** What has one of these workers leave, in the words that it knows. */
  readonly farewell: string;
  /** How long they may take for requests and upgraded connections. */
  readonly limitMs: number;
  /** To become the program before again: its file, and what it served, both open. */
  readonly before?: { readonly program: number; readonly config: number };
  /** The other way round: why the program after this one did not come up, and what it served. */
  readonly failure?: string;
  readonly config?: number;
}

/**
 * What the program before this one has left; undefined: there was none. Takes it out of the
 * environment; its descriptors are close-on-exec from then on.
 */
export function takeSuccession(
  environment: Record<string, string | undefined>,
): Succession | undefined {
  const text = environment[successionVariable];
  delete environment[successionVariable];
  if (text === undefined) return undefined;
  const succession = JSON.parse(text) as Succession;
  for (const number of descriptorsOf(succession)) setCloseOnExec(number, true);
  return succession;
}

/**
 * Becomes another program, with what this one passes on and what makes it possible to come back.
 * Signals that are hints are ignored from then on. @throws SyscallError when it cannot be executed;
 * then nothing is passed on any more.
 */
export function goOnAs(path: string, passOn: Succession, config: GatewayConfig): never {
  using served = fileInMemory(JSON.stringify(config));
  const program = openSync(ownProgram, "r");
  try {
    become(path, { ...passOn, before: { program, config: served.number } });
  } finally {
    closeSync(program);
  }
}

/**
 * Becomes the program before again. All that it has passed on is still open.
 * @throws SyscallError when it cannot be executed; @returns when there is none.
 */
export function comeBack({ before, ...succession }: Succession, failure: string): void {
  if (before === undefined) return;
  const generation = succession.generation + 1;
  const { program, config } = before;
  become(`/proc/self/fd/${program}`, { ...succession, generation, failure, config });
}

/** There is no coming back any more. */
export function forgetBefore({ before }: Succession): void {
  for (const number of Object.values(before ?? {})) closeSync(number);
}

/** What this program is to serve, if the one after it has failed: what it served before. */
export function takeServed({ config }: Succession): GatewayConfig | undefined {
  if (config === undefined) return undefined;
  const text = readFileSync(`/proc/self/fd/${config}`, "utf8");
  closeSync(config);
  return JSON.parse(text) as GatewayConfig;
}

function become(path: string, succession: Succession): never {
  const [words = [], variables = []] = ["cmdline", "environ"].map((name) =>
    fromBytes(readFileSync(`/proc/self/${name}`))
      .split("\0")
      .slice(0, -1),
  );
  const news = fromText(`${successionVariable}=${JSON.stringify(succession)}`);
  try {
    keepOpen(succession, true);
    ignoreHints();
    execute(fromText(path), words, [
      ...variables.filter((one) => !one.startsWith(`${successionVariable}=`)),
      news,
    ]);
  } catch (error) {
    keepOpen(succession, false);
    throw error;
  }
}

/** Has what is passed on outlive execve, or not any more. */
function keepOpen(succession: Succession, isKept: boolean): void {
  for (const number of descriptorsOf(succession)) {
    if (isOpen(number)) setCloseOnExec(number, !isKept);
  }
}

/** Between two programs there is nobody to listen, and a reload is no reason to end. */
function ignoreHints(): void {
  for (const signal of ["SIGHUP", "SIGUSR1", "SIGUSR2"] as const) {
    process.removeAllListeners(signal);
    ignoreSignal(signals[signal]);
  }
}

function descriptorsOf(succession: Succession): number[] {
  const { listeners, inherited, workers, before, config } = succession;
  return [
    ...Object.values(before ?? {}),
    ...(config === undefined ? [] : [config]),
    ...inherited,
    ...listeners.flatMap(({ descriptors }) => descriptors),
    ...workers.map(({ control }) => control),
  ];
}

/**
 * Where a new program is, if another file lies where this one was started from.
 * @param calledAs argv[0]: a path leads there by the links it has now, a bare name does not.
 */
export function newProgram(calledAs: string): string | undefined {
  const path = calledAs.includes("/") ? resolve(calledAs) : process.execPath;
  const [own, found] = [ownProgram, path].map((name) =>
    statSync(name, { throwIfNoEntry: false, bigint: true }),
  );
  if (own === undefined || found === undefined) return undefined;
  return own.dev === found.dev && own.ino === found.ino ? undefined : path;
}

/** What `serve --check` says, of any version. */
export const goodConfiguration = "the configuration is good";

/** A program that has not said by then whether it takes the configuration is not used. */
const trialLimitMs = 20_000;

/**
 * Whether a program runs here, and takes the configuration. @param args those of `serve`.
 * @returns why not; undefined: it does.
 */
export async function whyNotUsed(
  path: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<string | undefined> {
  try {
    const child = Bun.spawn([path, "serve", ...args, "--check"], {
      stdio: ["ignore", "pipe", "pipe"],
      env,
      timeout: trialLimitMs,
      killSignal: "SIGKILL",
    });
    const [good, said, status] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ]);
    if (status === 0 && good.startsWith(goodConfiguration)) return undefined;
    const how = child.signalCode === null ? `exit status ${status}` : child.signalCode;
    return `${how} of serve --check: ${said.trim().slice(-1000)}`;
  } catch (error) {
    return causeText(error);
  }
}
