/**
 * One life of a 2.0 spawn server: the process, our end of its socket, and the two ways to see its
 * end. Both count, since instances can hold a dead one's socket open, and a living one can close
 * it.
 */
import { open, setNonBlocking } from "../native/fd.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import type { DescriptorLimit, User } from "../native/process.ts";
import { originalLimit } from "./builtin/resource-limits.ts";
import { socketPair } from "../native/socket.ts";
import { ascii, escapeForLog, type ByteString } from "../wire/bytes.ts";
import { causeText } from "../wire/cause.ts";
import { launchCommand } from "./launch-plan.ts";
import { exitText, waitForExit } from "./process-end.ts";
import type { Notify } from "./spawner.ts";
import { closedItsSocket, SpawnChannel } from "./spawn-channel.ts";

/** How the spawn server is run: `ruby script "<61 spaces>"`. */
export interface SpawnServerProgram {
  /** Looked up on PATH, after becoming the user. */
  readonly ruby: ByteString;
  readonly script: ByteString;
  /** Opened for append at every start; absent: the server's own stderr. */
  readonly logFile?: ByteString;
  /** Whom it runs as; only where the server runs as root. */
  readonly user?: User;
}

export interface SpawnServerOptions {
  readonly command: SpawnServerProgram;
  readonly notify: Notify;
  /** RLIMIT_NOFILE as it was before the server raised it; absent: left as it is. */
  readonly originalDescriptorLimit?: DescriptorLimit;
}

/** What 2.0 gives the script as its only argument, so that it can write its title over it. */
const titleRoom = ascii(" ".repeat(61));

/** How long each polite way to end it may take (PROTOCOL section 1). */
const politeMs = 5_000;
/** The kernel needs a moment to end a killed process, but must not hold us up for ever. */
const killedMs = 1_000;
/** How long after its socket a dying process may take to exit. */
const exitMs = 200;

export class SpawnServerProcess {
  readonly #process: Bun.Subprocess;
  readonly channel: SpawnChannel;
  readonly startedAt = performance.now();
  /** The user it runs as. */
  readonly user: number;

  /**
   * Starts one. @param onEnd is called once, when it is of no more use, with the reason.
   * @throws Error: it could not be started.
   */
  constructor(options: SpawnServerOptions, onEnd: (why: string) => void) {
    const { command, originalDescriptorLimit: descriptorLimit } = options;
    this.user = command.user?.uid ?? process.geteuid?.() ?? 0;
    const plan = {
      argv: [command.ruby, command.script, titleRoom],
      variables: [],
      isInstance: false,
      ...(command.user && { user: command.user }),
      ...(descriptorLimit && { limits: [originalLimit(descriptorLimit)] }),
    };
    const { argv, env } = launchCommand(plan);
    const [ours, theirs] = socketPair();
    using child = theirs;
    using log = openLog(options);
    const output = log?.number ?? 2;
    try {
      // It stays in our process group, as in 2.0, so that it keeps the terminal on stdin.
      this.#process = Bun.spawn(argv, { env, stdio: ["inherit", output, output, child.number] });
    } catch (error) {
      ours.close();
      throw error;
    }
    this.channel = new SpawnChannel(ours, (why) => void this.#tell(why, onEnd));
    void this.#watch(onEnd);
  }

  async #watch(onEnd: (why: string) => void): Promise<void> {
    await this.#process.exited;
    const why = `it ${exitText(this.#process)}`;
    this.channel.end(why);
    onEnd(why);
  }

  async #tell(why: string, onEnd: (why: string) => void): Promise<void> {
    onEnd(await this.explain(why));
  }

  /**
   * A better reason than a closed socket, if there is one: the exit status comes a little later.
   */
  async explain(why: string): Promise<string> {
    if (why !== closedItsSocket) return why;
    const hasExited = await waitForExit(this.#process.exited, exitMs);
    return hasExited ? `it ${exitText(this.#process)}` : why;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Whether its end has been seen: from then on its id means nothing. */
  get hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** Ends it at once. */
  kill(why: string): void {
    this.channel.end(why);
    this.#signal("SIGKILL");
  }

  /** Ends it politely: its socket closes, then SIGTERM, then SIGKILL. `hurry` skips the waits. */
  async close(hurry: AbortSignal): Promise<void> {
    this.channel.end("the server is shutting down");
    const { exited } = this.#process;
    if (await waitForExit(exited, politeMs, hurry)) return;
    this.#signal("SIGTERM");
    if (await waitForExit(exited, politeMs, hurry)) return;
    this.#signal("SIGKILL");
    await waitForExit(exited, killedMs);
  }

  #signal(signal: "SIGTERM" | "SIGKILL"): void {
    // Until its end has been seen it is our child, so the id cannot have become another's.
    if (!this.hasEnded) this.#process.kill(signal);
  }
}

/** The log file, as a blocking descriptor: its description is the spawn server's from now on. */
function openLog({ command, notify }: SpawnServerOptions): OwnedFd | undefined {
  if (command.logFile === undefined) return undefined;
  try {
    const log = open(command.logFile, "append");
    setNonBlocking(log.number, false);
    return log;
  } catch (error) {
    // The pool goes on without its log (a full disk, a directory that is gone).
    const why = causeText(error);
    notify(0, "log file unusable", { file: escapeForLog(command.logFile), why });
    return undefined;
  }
}
